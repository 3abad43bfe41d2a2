"""What a replica's service needs of the engine and of its HTTP port."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from libs.contracts.lease import Endpoint
from services.replica.domain.load import Load
from services.replica.domain.statements import EngineFacts


class Engine(Protocol):
    """A running engine."""

    @property
    def facts(self) -> EngineFacts:
        """What the lease says of it."""
        ...

    def failure(self) -> str | None:
        """Return why it is dead; None while it lives."""
        ...

    def load(self) -> Load:
        """End the present slice of time and return the load over the window."""
        ...

    def answer_to(self, aliases: tuple[str, ...]) -> None:
        """Accept these names beside the model's own, and no others, from here on."""
        ...


class Door(Protocol):
    """The HTTP port of a replica whose engine runs."""

    @property
    def in_flight(self) -> int:
        """How many requests are being answered."""
        ...

    def leave(self) -> None:
        """Answer health checks with 503 from here on, but still take requests."""
        ...

    def close(self) -> None:
        """Refuse new requests from here on; those being answered go on."""
        ...

    async def emptied(self, *, timeout_s: float) -> bool:
        """Wait until no request is being answered; False at the time limit."""
        ...


class Host(Protocol):
    """Brings engine and HTTP port up, and takes them down again."""

    @property
    def endpoint(self) -> Endpoint:
        """Where the port is, or will be once it is open."""
        ...

    def running(self) -> AbstractAsyncContextManager[tuple[Engine, Door]]:
        """Run engine and port while the body runs; entering may take a minute.

        Raises:
            UsageError: the model's source or its size makes it impossible.
        """
        ...
