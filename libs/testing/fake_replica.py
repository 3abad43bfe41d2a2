"""A small replica: health, model list and OpenAI completions, streamed or whole.

It speaks HTTP/1.1 with keep-alive over asyncio and nothing else, so that hundreds fit into a test.
It remembers what it was asked and which clients left before their answer was complete.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from libs.contracts.health import FRONT_END_HEADER, RUST, SERVER_HEADER
from libs.contracts.lease import Address, Endpoint, UnixEndpoint

_INFERENCE = (
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/responses",
    "/tokenize",
    "/detokenize",
)
_TOKENS_IN_A_ROW = 64
"""Others have their turn after so many; a long stream would hold up health checks otherwise."""
_REASONS = {200: "OK", 404: "Not Found", 503: "Service Unavailable"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """How the replica answers.

    Attributes:
        tokens: chunks of one streamed answer.
        first_token_s: time before the first one.
        headers_first: send a stream's headers at once, as the Rust front end does, and not with the
            first token.
        token_s: time between two.
        die_after_tokens: close the connection after this many; None answers whole.
        padding: spaces added to each token, for streams that fill every buffer on the way.
        obeys_max_tokens: a request's own `max_tokens` comes before `tokens`.
        slams: close the connection of every request without a byte, whatever /health says.
    """

    tokens: int = 5
    first_token_s: float = 0.0
    headers_first: bool = False
    token_s: float = 0.0
    die_after_tokens: int | None = None
    padding: int = 0
    obeys_max_tokens: bool = False
    slams: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenRequest:
    """One request as it arrived; header names are lower-case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


def _set_event() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


@dataclass(slots=True, kw_only=True)
class FakeReplica:
    """One replica; start it with `fake_replica`.

    Attributes:
        healthy: what /health says.
        says_health: /health waits for it.
        identity: the name that /health answers with; None repeats the name that was asked for.
        rust: the front end that it vouches for beside itself.
        active: requests that are being answered now.
        completed: requests that were answered whole.
        left_at: monotonic times in seconds at which clients left early.
        connections_count: connections accepted so far, for health checks too.
        finishing: streams end with their next token, whole.
        asked_at: monotonic time in seconds of the first inference request; None before it.
        path: the unix socket on which it listens; None for a port.
        metrics: what /metrics answers.
    """

    name: str
    path: Path | None = None
    metrics: str = ""
    script: Script = field(default_factory=Script)
    healthy: bool = True
    says_health: asyncio.Event = field(default_factory=_set_event)
    identity: str | None = None
    rust: FakeReplica | None = None
    active: int = 0
    completed: int = 0
    left_at: list[float] = field(default_factory=list)
    connections_count: int = 0
    finishing: bool = False
    asked_at: float | None = None
    seen: list[SeenRequest] = field(default_factory=list)
    _server: asyncio.Server | None = None
    _connections: set[asyncio.StreamWriter] = field(default_factory=set)
    _idle: asyncio.Event = field(default_factory=_set_event)

    @property
    def address(self) -> Address:
        """Where it listens."""
        return self.endpoint if self.path is None else UnixEndpoint(path=str(self.path))

    @property
    def endpoint(self) -> Endpoint:
        """Where it listens, for a replica on a port."""
        assert self._server is not None, "the replica is not running"
        host, port = self._server.sockets[0].getsockname()[:2]
        return Endpoint(host=host, port=port)

    async def start(self, *, port: int = 0) -> None:
        """Listen on loopback, or on a unix socket if it has a path."""
        if self.path is None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        else:
            self.path.unlink(missing_ok=True)
            self._server = await asyncio.start_unix_server(self._serve, self.path)
            self.path.chmod(0o600)

    async def kill(self) -> None:
        """End as `kill -9` does: every connection breaks, nobody is told."""
        self.says_health.set()
        if self._server is None:
            return
        self._server.close()
        for writer in list(self._connections):
            writer.transport.abort()
        await self._idle.wait()
        self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        self.connections_count += 1
        self._idle.clear()
        try:
            while (request := await _read_request(reader)) is not None:
                await self._answer(request, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
            self._connections.discard(writer)
            if not self._connections:
                self._idle.set()

    async def _answer(
        self, request: SeenRequest, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if request.path == "/health":
            await self.says_health.wait()
            name = self.identity or request.headers.get(SERVER_HEADER, self.name)
            await self._reply(writer, 200 if self._vouches(request) else 503, b"", name=name)
        elif request.path == "/metrics":
            await self._reply(writer, 200, self.metrics.encode(), content_type="text/plain")
        elif request.path == "/v1/models":
            listed = {"object": "list", "data": [{"id": self.name, "object": "model"}]}
            await self._reply(writer, 200, json.dumps(listed).encode())
        elif request.path in _INFERENCE:
            await self._infer(request, reader, writer)
        else:
            await self._reply(writer, 404, b"{}")

    def _vouches(self, request: SeenRequest) -> bool:
        asks_for_rust = request.headers.get(FRONT_END_HEADER) == RUST
        rust = self.rust if asks_for_rust else None
        return self.healthy and (rust is None or rust.answers_health)

    @property
    def answers_health(self) -> bool:
        """Whether it runs, and its /health is 200."""
        return self._server is not None and self.healthy

    async def _infer(
        self, request: SeenRequest, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.seen.append(request)
        if self.script.slams:
            writer.transport.abort()
            raise ConnectionResetError
        if self.asked_at is None:
            self.asked_at = time.monotonic()
        self.active += 1
        try:
            async with asyncio.TaskGroup() as tasks:
                leaving = tasks.create_task(self._watch_for_leaving(reader))
                await self._speak(request, writer)
                leaving.cancel()
            self.completed += 1
        except* ConnectionError as left:
            raise ConnectionResetError from left
        finally:
            self.active -= 1

    async def _watch_for_leaving(self, reader: asyncio.StreamReader) -> None:
        """A client that has asked says nothing more until it has its answer, or leaves."""
        with suppress(ConnectionError):
            await reader.read(1)
        self.left_at.append(time.monotonic())
        raise ConnectionResetError

    async def _speak(self, request: SeenRequest, writer: asyncio.StreamWriter) -> None:
        try:
            asked = json.loads(request.body)
        except ValueError:
            asked = {}
        streams = isinstance(asked, dict) and bool(asked.get("stream"))
        if streams and self.script.headers_first:
            await self._begin_stream(writer)
        await asyncio.sleep(self.script.first_token_s)
        if streams and not self.script.headers_first:
            await self._begin_stream(writer)
        if streams:
            await self._stream(writer, tokens=self._tokens_for(asked.get("max_tokens")))
        else:
            text = " ".join(f"t{index}" for index in range(self.script.tokens))
            body = {"object": "chat.completion", "replica": self.name, "text": text}
            await self._reply(writer, 200, json.dumps(body).encode())

    def _tokens_for(self, asked: object) -> int:
        if self.script.obeys_max_tokens and isinstance(asked, int):
            return asked
        return self.script.tokens

    async def _begin_stream(self, writer: asyncio.StreamWriter) -> None:
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
            b"transfer-encoding: chunked\r\nx-sluice-replica: " + self.name.encode() + b"\r\n\r\n"
        )
        await writer.drain()

    async def _stream(self, writer: asyncio.StreamWriter, *, tokens: int) -> None:
        for index in range(tokens):
            if index and self.finishing:
                break
            if index == self.script.die_after_tokens:
                writer.transport.abort()
                raise ConnectionResetError
            if index and (self.script.token_s or not index % _TOKENS_IN_A_ROW):
                await asyncio.sleep(self.script.token_s)
            text = f"t{index} " + " " * self.script.padding
            delta = {"choices": [{"index": 0, "delta": {"content": text}}]}
            writer.write(_chunk(f"data: {json.dumps(delta)}\n\n".encode()))
            await writer.drain()
        writer.write(_chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")
        await writer.drain()

    async def _reply(
        self,
        writer: asyncio.StreamWriter,
        status: int,
        body: bytes,
        *,
        content_type: str = "application/json",
        name: str | None = None,
    ) -> None:
        head = (
            f"HTTP/1.1 {status} {_REASONS[status]}\r\ncontent-type: {content_type}\r\n"
            f"x-sluice-replica: {name or self.name}\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        await writer.drain()


@asynccontextmanager
async def fake_replica(
    name: str = "r1", script: Script | None = None, *, path: Path | None = None
) -> AsyncIterator[FakeReplica]:
    """Run a replica while the body runs, on a port or on a unix socket."""
    replica = FakeReplica(name=name, script=script or Script(), path=path)
    await replica.start()
    try:
        yield replica
    finally:
        await replica.kill()


def _chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


async def _read_request(reader: asyncio.StreamReader) -> SeenRequest | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    method, target, _ = first.split(" ", 2)
    pairs = (line.split(":", 1) for line in lines)
    headers = {name.strip().lower(): value.strip() for name, value in pairs}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return SeenRequest(method=method, path=target.split("?")[0], headers=headers, body=body)
