"""What a replica adds around vLLM's application: one thin layer of plain ASGI.

It closes the administrative paths, refuses what must not come in, counts what is inside, and puts
one server span around each request, whose `traceparent` it passes on, so that the engine's span
becomes its child. Between the chunks of a stream there is next to nothing of it.

Source: ASGI 3.0, HTTP connection scope (https://asgi.readthedocs.io/en/latest/specs/www.html).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, Protocol

from opentelemetry.trace import Tracer

from libs.contracts.health import FRONT_END_HEADER, RUST
from services.replica.adapters.http import refusals
from services.replica.adapters.http.body_model import (
    Unclear,
    contradicts,
    model_of,
    pairs_in,
    with_model,
)
from services.replica.adapters.http.body_shape import Shape, excess_in
from services.replica.adapters.http.door import HttpDoor
from services.replica.adapters.http.paths import PathKind, kind_of
from services.replica.adapters.http.refusals import Refusal
from services.replica.adapters.http.request_span import RequestSpan
from services.replica.domain.work import WorkLimits, excess_of

# What an application and its server say to each other has no narrower type in the specification.
Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Answering(Protocol):
    """A front end that can be asked whether it answers."""

    async def answers(self) -> bool:
        """Tell whether it answers health checks now."""
        ...


_FRONT_END_HEADER: Final = FRONT_END_HEADER.encode()
MODEL_HEADER: Final = b"x-sluice-model"
LENGTH_HEADER: Final = b"content-length"
TYPE_HEADER: Final = b"content-type"
MULTIPART: Final = "multipart/"
BODY_BYTES_MAX: Final = 64 * 2**20

LOOKED_THROUGH_AT_ONCE_BYTES: Final = 2**18
"""Takes about a millisecond."""

SHAPE_MAX: Final = Shape(texts=65_536, objects=8_192, values=262_144)
"""Token ids of a prompt are values; a chat with a hundred tools has a few thousand objects."""


class ReplicaMiddleware:
    """An ASGI application around vLLM's."""

    def __init__(
        self,
        app: App,
        *,
        door: HttpDoor,
        tracer: Tracer,
        limits: WorkLimits | None = None,
        rust: Answering | None = None,
    ) -> None:
        """Wrap `app`; `rust` is the other front end, which does not know its name.

        Without `limits` the default ones hold.
        """
        self._app = app
        self._rust = rust
        self._door = door
        self._tracer = tracer
        self._limits = limits or WorkLimits()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; pass the lifespan on; refuse web sockets by silence."""
        match scope["type"]:
            case "lifespan":
                await self._app(scope, receive, send)
            case "http":
                await self._http(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        match kind_of(scope["path"]):
            case PathKind.CLOSED:
                await _answer(send, refusals.closed_path(scope["path"]))
            case PathKind.HEALTH if self._door.is_leaving:
                await _answer(send, refusals.draining())
            case PathKind.HEALTH if not await self._answers_for_rust(scope):
                await _answer(send, refusals.rust_does_not_answer())
            case PathKind.HEALTH | PathKind.INFO:
                await self._app(scope, receive, send)
            case PathKind.INFERENCE if not self._door.is_open:
                await _answer(send, refusals.draining())
            case PathKind.INFERENCE:
                routed = _header(scope, MODEL_HEADER)
                with self._door.entered(routed):
                    await self._infer(scope, receive, send, routed=routed)

    async def _answers_for_rust(self, scope: Scope) -> bool:
        """Vouch for the Rust program where a health check is about it, and there is one."""
        if self._rust is None or _header(scope, _FRONT_END_HEADER) != RUST:
            return True
        return await self._rust.answers()

    async def _infer(
        self, scope: Scope, receive: Receive, send: Send, *, routed: str | None
    ) -> None:
        with RequestSpan(self._tracer, scope, model=routed) as span:
            if scope["method"] == "POST":
                received = await _whole_body(receive)
                body = await self._checked(received, routed, scope)
                if isinstance(body, Refusal):
                    await _answer(span.watching(send), body)
                    return
                if body is not received:
                    scope = _with_length(scope, len(body))
                receive = _replay(body, receive)
            await self._app(span.passed_on(scope), receive, _held(span.watching(send)))

    async def _checked(
        self, body: bytes | None, routed: str | None, scope: Scope
    ) -> bytes | Refusal:
        """Return the body for the engine, or why it must not reach it.

        Other requests go on between the steps of looking through a large one.
        """
        if body is None:
            return refusals.body_too_large(BODY_BYTES_MAX)
        if _is_multipart(scope):
            return body
        if len(body) <= LOOKED_THROUGH_AT_ONCE_BYTES:
            return _for_the_engine(body, routed, self._limits)
        return await asyncio.to_thread(_for_the_engine, body, routed, self._limits)


def _for_the_engine(body: bytes, routed: str | None, limits: WorkLimits) -> bytes | Refusal:
    """Return the body with its model in it, or why it must not reach the engine."""
    if (excess := excess_in(body, SHAPE_MAX)) is not None:
        return refusals.too_much(excess)
    pairs = pairs_in(body)
    if pairs is not None and (excess := excess_of(dict(pairs), limits)) is not None:
        return refusals.too_much(excess)
    if routed is None:
        return body
    named = model_of(pairs)
    if named is Unclear.ABSENT:
        return with_model(body, routed)
    said = contradicts(named, routed=routed)
    return body if said is None else refusals.different_model(routed=routed, body=said)


def _is_multipart(scope: Scope) -> bool:
    """Tell whether the body is a form with a file, which vLLM does not parse as JSON."""
    return (_header(scope, TYPE_HEADER) or "").lstrip().lower().startswith(MULTIPART)


def _with_length(scope: Scope, length: int) -> Scope:
    """Return the scope of a body of this many bytes."""
    pairs = [(k, b"%d" % length if k == LENGTH_HEADER else v) for k, v in scope["headers"]]
    return {**scope, "headers": pairs}


async def _whole_body(receive: Receive) -> bytes | None:
    """Read the body; None when it is over the limit. A client that left ends it early."""
    parts: list[bytes] = []
    size = 0
    while size <= BODY_BYTES_MAX:
        message = await receive()
        part = message.get("body", b"")
        parts.append(part)
        size += len(part)
        if not message.get("more_body", False):
            return b"".join(parts)
    return None


def _replay(body: bytes, receive: Receive) -> Receive:
    unread = [body]

    async def receive_again() -> Message:
        if unread:
            return {"type": "http.request", "body": unread.pop(), "more_body": False}
        return await receive()

    return receive_again


def _held(send: Send) -> Send:
    """Return a `send` that keeps status and headers back until the body begins.

    vLLM sends those of a stream before its first token. A request that has no byte of an answer
    yet can still go to another replica.
    """
    kept: list[Message] = []

    async def hold(message: Message) -> None:
        if message["type"] == "http.response.start":
            kept.append(message)
            return
        if kept:
            await send(kept.pop())
        await send(message)

    return hold


async def _answer(send: Send, refusal: Refusal) -> None:
    await send(
        {
            "type": "http.response.start",
            "status": refusal.status,
            "headers": list(refusal.headers),
        }
    )
    await send({"type": "http.response.body", "body": refusal.body})


def _header(scope: Scope, name: bytes) -> str | None:
    for key, value in scope["headers"]:
        if key == name:
            return str(value, "latin-1")
    return None
