"""Who may still come in, and who is still inside, for which model."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from contextlib import contextmanager


class HttpDoor:
    """Counts the requests being answered; leaves and closes once, in that order."""

    def __init__(self) -> None:
        """Open the door."""
        self._inside: dict[int, str | None] = {}
        self._numbers = itertools.count()
        self._is_leaving = False
        self._is_open = True
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def in_flight(self) -> int:
        """How many requests are being answered."""
        return len(self._inside)

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
    def entered(self, name: str | None = None) -> Iterator[None]:
        """Count one request while the body runs; `name` is its model, None if it is not known."""
        number = next(self._numbers)
        self._inside[number] = name
        self._empty.clear()
        try:
            yield
        finally:
            del self._inside[number]
            if not self._inside:
                self._empty.set()

    def inside(self, name: str) -> frozenset[int]:
        """Return the requests being answered that may be for a name, each by a number."""
        return frozenset(n for n, said in self._inside.items() if said in (name, None))

    def have_left(self, requests: frozenset[int]) -> bool:
        """Tell whether none of these requests is being answered any more."""
        return self._inside.keys().isdisjoint(requests)

    async def emptied(self, *, timeout_s: float) -> bool:
        """Wait until no request is being answered; False at the time limit."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._empty.wait()
        except TimeoutError:
            return False
        return True
