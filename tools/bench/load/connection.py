"""HTTP/1.1 connections of the generator: raw asyncio, httptools' parser, no retries.

A reused connection that the server closes at the same moment would count as an error of the server,
so an idle one is closed on this side well before any server's keep-alive ends.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, cast
from urllib.parse import urlsplit

import httptools

from tools.bench.load.exchange import Exchange
from tools.bench.load.rest import Rest
from tools.bench.load.samples import Outcome

IDLE_S_MAX: Final = 2.0
"""uvicorn closes idle connections after 5 s."""

Clock = Callable[[], float]


class Connection(asyncio.Protocol):
    """One connection; it carries one exchange at a time."""

    def __init__(self, clock: Clock, rest: Rest) -> None:
        self._clock = clock
        self._rest = rest
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._exchange: Exchange | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._now_s = 0.0
        self.idle_since_s = 0.0

    @property
    def is_open(self) -> bool:
        """Whether another request may be sent."""
        return self._transport is not None and not self._transport.is_closing()

    async def carry(self, exchange: Exchange, request: bytes) -> None:
        """Send a request and wait until its exchange has ended."""
        if self._transport is None:
            exchange.fail(Outcome.RESET, self._clock(), "closed before the request")
            return
        self._exchange = exchange
        self._waiter = asyncio.get_running_loop().create_future()
        exchange.sent_s = self._clock()
        self._transport.write(request)
        await self._waiter

    def abort(self) -> None:
        """Close without waiting for anything; what it carries must have ended."""
        self._exchange = None
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Stamp the time and parse; the parser calls the methods below."""
        self._now_s = self._clock()
        self._rest.after_reading()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as exc:
            if self._exchange is not None:
                self._exchange.fail(Outcome.MALFORMED, self._now_s, f"no HTTP: {exc}")
            self._release()
            self.abort()

    def on_headers_complete(self) -> None:
        """Hand the status to the exchange."""
        if self._exchange is not None:
            self._exchange.head(self._parser.get_status_code())

    def on_body(self, body: bytes) -> None:
        """Hand a piece of the body to the exchange."""
        if self._exchange is not None:
            self._exchange.body(body, self._now_s)

    def on_message_complete(self) -> None:
        """End the exchange; the connection stays open if the server keeps it."""
        if self._exchange is not None:
            self._exchange.complete(self._now_s)
        if not self._parser.should_keep_alive() and self._transport is not None:
            self._transport.close()
        self._release()

    def connection_lost(self, exc: Exception | None) -> None:
        """End what is under way."""
        self._transport = None
        if self._exchange is not None:
            self._exchange.lost(self._clock(), repr(exc) if exc else "closed by the server")
        self._release()

    def _release(self) -> None:
        self._exchange = None
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        self._waiter = None


@dataclass(slots=True, kw_only=True)
class Pool:
    """The connections to one server, the last used first.

    Attributes:
        opened: how many were made so far.
    """

    url: str
    clock: Clock
    connect_s: float
    opened: int = 0
    _idle: list[Connection] = field(default_factory=list)
    _rest: Rest | None = None

    async def take(self) -> Connection:
        """Return an idle connection or make one.

        Raises:
            OSError: the server cannot be reached.
            TimeoutError: it does not accept in time.
        """
        while self._idle:
            found = self._idle.pop()
            if found.is_open and self.clock() - found.idle_since_s < IDLE_S_MAX:
                return found
            found.abort()
        return await self._connect()

    def give(self, connection: Connection) -> None:
        """Take a connection back after its exchange."""
        if connection.is_open:
            connection.idle_since_s = self.clock()
            self._idle.append(connection)

    def close(self) -> None:
        """Close the idle connections."""
        for connection in self._idle:
            connection.abort()
        self._idle.clear()

    async def _connect(self) -> Connection:
        parts = urlsplit(self.url)
        tls = ssl.create_default_context() if parts.scheme == "https" else None
        loop = asyncio.get_running_loop()
        rest = self._rest = self._rest or Rest(loop)
        async with asyncio.timeout(self.connect_s):
            _, connection = await loop.create_connection(
                lambda: Connection(self.clock, rest),
                parts.hostname or "",
                parts.port or (443 if tls else 80),
                ssl=tls,
            )
        self.opened += 1
        return connection
