"""What a replica adds around vLLM's application: one thin layer of plain ASGI.

It closes the administrative paths, refuses what must not come in, counts what is inside, and puts
one server span around each request, whose `traceparent` it passes on, so that the engine's span
becomes its child. A request that no trace follows has nothing of ours between its chunks.

Source: ASGI 3.0, HTTP connection scope (https://asgi.readthedocs.io/en/latest/specs/www.html).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, Protocol

from opentelemetry.trace import Tracer

from libs.contracts.health import FRONT_END_HEADER, RUST
from services.replica.adapters.http import refusals
from services.replica.adapters.http.body_model import (
    Unclear,
    contradicts,
    model_in,
    with_model,
)
from services.replica.adapters.http.door import HttpDoor
from services.replica.adapters.http.paths import PathKind, kind_of
from services.replica.adapters.http.refusals import Refusal
from services.replica.adapters.http.request_span import RequestSpan

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
BODY_BYTES_MAX: Final = 64 * 2**20


class ReplicaMiddleware:
    """An ASGI application around vLLM's."""

    def __init__(
        self, app: App, *, door: HttpDoor, tracer: Tracer, rust: Answering | None = None
    ) -> None:
        """Wrap `app`; `rust` is the other front end, which does not know its name."""
        self._app = app
        self._rust = rust
        self._door = door
        self._tracer = tracer

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
            if routed is not None and scope["method"] == "POST":
                received = await _whole_body(receive)
                body = _for_the_engine(received, routed)
                if isinstance(body, Refusal):
                    await _answer(span.watching(send), body)
                    return
                if body is not received:
                    scope = _with_length(scope, len(body))
                receive = _replay(body, receive)
            await self._app(span.passed_on(scope), receive, span.watching(send))


def _for_the_engine(body: bytes | None, routed: str) -> bytes | Refusal:
    """Return the body with its model in it, or why it must not reach the engine."""
    if body is None:
        return refusals.body_too_large(BODY_BYTES_MAX)
    named = model_in(body)
    if named is Unclear.ABSENT:
        return with_model(body, routed)
    said = contradicts(named, routed=routed)
    return body if said is None else refusals.different_model(routed=routed, body=said)


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
