"""What a replica's service needs of the engine and of its HTTP port."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from libs.contracts.model_spec import AdapterSpec
from services.replica.domain.load import Load
from services.replica.domain.statements import EngineFacts


class AdapterSlots(Protocol):
    """A running engine's room for LoRA adapters, and the names that it gives them to."""

    @property
    def room(self) -> int:
        """How many adapters it holds at once, those that are leaving included."""
        ...

    async def load(self, adapter: AdapterSpec) -> int:
        """Load an adapter into the engine without serving it yet, and return its handle.

        Raises:
            ControlPlaneError: it is not there, or the engine cannot take it.
        """
        ...

    def serve(self, name: str, handle: int | None) -> None:
        """Give requests for a name this adapter from here on, or refuse them with None."""
        ...

    async def free(self, handle: int) -> None:
        """Give an adapter's room back; no request may run with it any more.

        Raises:
            ControlPlaneError: the engine does not answer.
        """
        ...


class Engine(Protocol):
    """A running engine."""

    @property
    def slots(self) -> AdapterSlots:
        """Its room for adapters."""
        ...

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
    """The way into a replica whose engine runs: all of its front ends."""

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

    def inside(self, name: str) -> frozenset[int]:
        """Return the requests being answered that may be for a name, each by a number."""
        ...

    def have_left(self, requests: frozenset[int]) -> bool:
        """Tell whether none of these requests is being answered any more."""
        ...


class FrontEndProgram(Protocol):
    """A front end that is a process of its own."""

    @property
    def exit_code(self) -> int | None:
        """How it ended; None while it runs."""
        ...

    def ask_to_end(self) -> None:
        """Have it refuse new requests, finish those that run, and end."""
        ...

    async def ended(self, *, timeout_s: float) -> bool:
        """Wait until it has ended; False at the time limit."""
        ...


class Host(Protocol):
    """Brings the engine and its front ends up, and takes them down again."""

    def running(self, aliases: tuple[str, ...]) -> AbstractAsyncContextManager[tuple[Engine, Door]]:
        """Run engine and front ends while the body runs; entering may take a minute.

        The Rust front end answers to the model's own name and these aliases, until it ends.

        Raises:
            UsageError: the model's source or its size makes it impossible.
        """
        ...
