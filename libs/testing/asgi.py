"""A tiny ASGI application and a caller for it, without sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any

# ASGI's messages have no narrower type in its specification.
Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


@dataclass(slots=True)
class EchoApp:
    """Answers 200 with the body that it got, in chunks; keeps what it saw.

    With `gate` it waits before the last chunk; with `error` it fails after its headers.
    """

    gate: asyncio.Event | None = None
    error: Exception | None = None
    scopes: list[Scope] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; go along with a lifespan."""
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        self.scopes.append(scope)
        body = await _read(receive)
        self.bodies.append(body)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if self.error is not None:
            raise self.error
        await send({"type": "http.response.body", "body": body, "more_body": True})
        if self.gate is not None:
            await self.gate.wait()
        await send({"type": "http.response.body", "body": b"end", "more_body": False})

    def header(self, name: str) -> str | None:
        """Return a header of the last request."""
        for key, value in self.scopes[-1]["headers"]:
            if key == name.encode():
                return str(value, "latin-1")
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the application sent."""

    status: int
    headers: Mapping[str, str]
    body: bytes


async def call(
    app: App, path: str, *, body: bytes = b"", headers: Mapping[str, str] | None = None
) -> Answer:
    """POST once, the body in two parts, and collect the answer."""
    parts = [body[: len(body) // 2], body[len(body) // 2 :]]
    sent: list[Message] = []

    async def receive() -> Message:
        if parts:
            part = parts.pop(0)
            return {"type": "http.request", "body": part, "more_body": bool(parts)}
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(_scope(path, headers or {}), receive, send)
    return _answer(sent)


def _scope(path: str, headers: Mapping[str, str]) -> Scope:
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http", "method": "POST", "path": path, "headers": pairs}


def _answer(sent: list[Message]) -> Answer:
    return Answer(
        status=sent[0]["status"],
        headers={str(k, "latin-1"): str(v, "latin-1") for k, v in sent[0]["headers"]},
        body=b"".join(message.get("body", b"") for message in sent[1:]),
    )


async def _read(receive: Receive) -> bytes:
    parts: list[bytes] = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


async def _live(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
