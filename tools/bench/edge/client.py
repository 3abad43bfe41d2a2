"""A client that costs little: connections that send numbered requests and count whole answers."""

from __future__ import annotations

import asyncio
from typing import cast

from libs.errors import PeerUnreachableError
from tools.bench.edge.cases import ANSWER_END, NUMBER

_OK = b"HTTP/1.1 200"


class Turn:
    """One turn: so many requests over some connections, each after the answer before it."""

    def __init__(self, request: bytes, *, requests: int) -> None:
        """Send `request` so often, each time with another number."""
        self.before, _, self.behind = request.partition(NUMBER)
        self.left = requests
        self.awaited = requests
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def take(self) -> bytes | None:
        """Return the next request; None when all are sent."""
        if self.left == 0:
            return None
        self.left -= 1
        return b"%s%08d%s" % (self.before, self.left, self.behind)

    def answered(self) -> None:
        """Count an answer."""
        self.awaited -= 1
        if self.awaited == 0 and not self.over.done():
            self.over.set_result(None)

    def fail(self, why: str) -> None:
        """End with the first thing that is wrong."""
        if not self.over.done():
            self.over.set_exception(PeerUnreachableError(peer="haproxy", cause=why))


class Line(asyncio.Protocol):
    """One connection, which lasts for the whole turn."""

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self._answer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        self._transport = cast("asyncio.Transport", transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        """Send the next request when an answer is whole."""
        self._answer += data
        if not self._answer.startswith(_OK[: len(self._answer)]):
            self._turn.fail(self._answer[:200].decode(errors="replace"))
        if not self._answer.endswith(ANSWER_END):
            return
        self._answer = b""
        self._turn.answered()
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        """A connection ends before its turn only by a fault."""
        if self._turn.awaited:
            self._turn.fail(f"connection lost: {exc!r}, {self._answer[:200]!r}")

    def _send(self) -> None:
        request = self._turn.take()
        if request is not None:
            self._transport.write(request)


async def send_turn(port: int, request: bytes, *, requests: int, clients: int) -> None:
    """Send a turn, and return when every answer has come.

    Raises:
        PeerUnreachableError: an answer is not 200, or a connection breaks.
    """
    turn = Turn(request, requests=requests)
    loop = asyncio.get_running_loop()
    lines = [
        await loop.create_connection(lambda: Line(turn), "127.0.0.1", port) for _ in range(clients)
    ]
    try:
        await turn.over
    finally:
        for transport, _ in lines:
            transport.close()
