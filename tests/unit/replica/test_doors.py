"""The door of all front ends together: closed and empty only when each of them is."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from services.replica.adapters.http.door import HttpDoor
from services.replica.doors import ReplicaDoor


@dataclass
class FakeProgram:
    """A front end that ends when a test says so."""

    exit_code: int | None = None
    was_asked: bool = False
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    def ask_to_end(self) -> None:
        """Remember."""
        self.was_asked = True

    async def ended(self, *, timeout_s: float) -> bool:
        """Wait for the test."""
        try:
            async with asyncio.timeout(timeout_s):
                await self.gone.wait()
        except TimeoutError:
            return False
        return True

    def end(self) -> None:
        """End."""
        self.exit_code = 0
        self.gone.set()


async def test_closing_asks_the_program_to_end_and_leaving_does_not() -> None:
    """A leaving replica still takes requests on both front ends."""
    python, program = HttpDoor(), FakeProgram()
    door = ReplicaDoor(python, program)

    door.leave()
    asked_by_leaving = program.was_asked
    door.close()

    assert not asked_by_leaving
    assert program.was_asked
    assert not python.is_open


async def test_it_is_empty_when_both_front_ends_are() -> None:
    """The program has ended, and the application has no request in flight."""
    python, program = HttpDoor(), FakeProgram()
    door = ReplicaDoor(python, program)
    with python.entered("m"):
        inside = door.in_flight
        waiting = asyncio.create_task(door.emptied(timeout_s=5))
        program.end()
        await asyncio.sleep(0)
        still_waits = not waiting.done()

    assert await waiting
    assert (inside, still_waits, door.in_flight) == (2, True, 0)


async def test_a_program_that_does_not_end_in_time_is_told() -> None:
    """The drain's deadline cuts what is left."""
    door = ReplicaDoor(HttpDoor(), FakeProgram())

    assert not await door.emptied(timeout_s=0.01)
    assert door.in_flight == 1


async def test_without_a_program_the_application_is_everything() -> None:
    """A replica whose Python front end serves alone."""
    door = ReplicaDoor(HttpDoor(), None)

    door.close()

    assert await door.emptied(timeout_s=0.01)
    assert door.in_flight == 0
