"""The way into a replica: the Python application's door, and the Rust program's process.

The Rust program has no door of ours. Asked to end, it refuses new requests, finishes those that
run, and ends; so it is empty when it has ended.
"""

from __future__ import annotations

import asyncio

from services.replica.ports import Door, FrontEndProgram


class ReplicaDoor:
    """The door of all front ends together."""

    def __init__(self, python: Door, rust: FrontEndProgram | None) -> None:
        """Take the application's door and the running program, if there is one."""
        self._python = python
        self._rust = rust

    @property
    def in_flight(self) -> int:
        """How many requests are being answered; a Rust program that still runs counts as one."""
        return self._python.in_flight + (self._rust is not None and self._rust.exit_code is None)

    def leave(self) -> None:
        """Answer health checks with 503 from here on, but still take requests."""
        self._python.leave()

    def close(self) -> None:
        """Refuse new requests from here on; those being answered go on."""
        self._python.close()
        if self._rust is not None:
            self._rust.ask_to_end()

    async def emptied(self, *, timeout_s: float) -> bool:
        """Wait until no request is being answered; False at the time limit."""
        waits = [self._python.emptied(timeout_s=timeout_s)]
        if self._rust is not None:
            waits.append(self._rust.ended(timeout_s=timeout_s))
        return all(await asyncio.gather(*waits))

    def inside(self, name: str) -> frozenset[int]:
        """Return the requests for a name that the Python application is answering.

        Adapters are the reason to ask, and the Rust program serves none.
        """
        return self._python.inside(name)

    def have_left(self, requests: frozenset[int]) -> bool:
        """Tell whether none of these requests is being answered any more."""
        return self._python.have_left(requests)
