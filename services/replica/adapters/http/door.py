"""Who may still come in, and who is still inside."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class HttpDoor:
    """Counts the requests being answered; leaves and closes once, in that order."""

    def __init__(self) -> None:
        """Open the door."""
        self._in_flight = 0
        self._is_leaving = False
        self._is_open = True
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def in_flight(self) -> int:
        """How many requests are being answered."""
        return self._in_flight

    @property
    def is_leaving(self) -> bool:
        """Whether health checks are answered with 503."""
        return self._is_leaving

    @property
    def is_open(self) -> bool:
        """Whether new requests are taken."""
        return self._is_open

    def leave(self) -> None:
        """Answer health checks with 503 from here on, but still take requests."""
        self._is_leaving = True

    def close(self) -> None:
        """Refuse new requests from here on; those being answered go on."""
        self._is_leaving = True
        self._is_open = False

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Count one request while the body runs."""
        self._in_flight += 1
        self._empty.clear()
        try:
            yield
        finally:
            self._in_flight -= 1
            if not self._in_flight:
                self._empty.set()

    async def emptied(self, *, timeout_s: float) -> bool:
        """Wait until no request is being answered; False at the time limit."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._empty.wait()
        except TimeoutError:
            return False
        return True
