"""Adapters come, change and go on a replica that serves, against room that a test fills.

Invariants: the lease lists a name only while it is served; nobody who may still ask for it is
refused before the grace is over; an adapter leaves the engine after its last request.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from libs.clock import Clock, SystemClock
from libs.contracts.model_spec import AdapterSpec
from libs.testing.clock import FakeClock
from libs.testing.fake_slots import FakeSlots
from services.replica.adapter_keeper import RETRY_S, AdapterKeeper
from services.replica.adapters.http.door import HttpDoor
from services.replica.domain.adapters import Shelf

GRACE_S = 0.3
LEAVING_WITHIN_S = 5.0


@pytest.fixture
def sources(tmp_path: Path) -> Callable[[str], str]:
    """Offer directories by name."""

    def source(name: str) -> str:
        (tmp_path / name).mkdir(exist_ok=True)
        return str(tmp_path / name)

    return source


class World:
    """A keeper with its surroundings, and what it told."""

    def __init__(self, slots: FakeSlots | None = None, clock: Clock | None = None) -> None:
        """Wire it."""
        self.slots = slots or FakeSlots()
        self.door = HttpDoor()
        self.told: list[Shelf] = []
        self.keeper = AdapterKeeper(clock or SystemClock(), grace_s=GRACE_S, tell=self.told.append)

    @asynccontextmanager
    async def keeping(self) -> AsyncIterator[None]:
        """Let it follow what is wanted while the body runs."""
        task = asyncio.create_task(self.keeper.keep(self.slots, self.door))
        try:
            yield
            assert not task.done(), task.exception()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def listed(self) -> tuple[str, ...]:
        """Return what the lease would list."""
        return self.told[-1].listed() if self.told else ()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until it holds."""
        deadline = time.monotonic() + LEAVING_WITHIN_S
        while not condition():
            assert time.monotonic() < deadline, (self.told[-1:], self.slots)
            await asyncio.sleep(0.01)


async def test_an_adapter_is_listed_once_it_is_served(sources: Callable[[str], str]) -> None:
    """Not while the engine still reads it."""
    gate = asyncio.Event()
    world = World(FakeSlots(gate=gate))
    world.keeper.want((AdapterSpec(name="sql", source=sources("sql")),))

    async with world.keeping():
        await asyncio.sleep(0.05)
        before = world.listed()
        gate.set()
        await world.until(lambda: world.listed() == ("sql",))

    assert before == ()
    assert world.slots.source_of("sql") == sources("sql")


async def test_a_removed_adapter_answers_through_the_grace_and_then_no_more(
    sources: Callable[[str], str],
) -> None:
    """The lease says it first, so that nobody is sent who would be refused."""
    world = World()
    world.keeper.want((AdapterSpec(name="sql", source=sources("sql")),))

    async with world.keeping():
        await world.until(lambda: world.listed() == ("sql",))
        world.keeper.want(())
        await world.until(lambda: world.listed() == ())
        during = world.slots.source_of("sql")
        await world.until(lambda: not world.slots.held)

    assert during == sources("sql")
    assert world.slots.source_of("sql") is None


async def test_a_removed_adapter_stays_in_the_engine_until_its_requests_are_answered(
    sources: Callable[[str], str],
) -> None:
    """Those of other names need not end for that."""
    world = World()
    world.keeper.want((AdapterSpec(name="sql", source=sources("sql")),))

    async with world.keeping():
        await world.until(lambda: world.listed() == ("sql",))
        with world.door.entered("m"):
            with world.door.entered("sql"):
                world.keeper.want(())
                await world.until(lambda: world.slots.source_of("sql") is None)
                await asyncio.sleep(0.3)
                during = dict(world.slots.held)
            await world.until(lambda: not world.slots.held)

    assert list(during.values()) == [sources("sql")]


async def test_a_changed_adapter_is_never_away_and_its_old_requests_finish(
    sources: Callable[[str], str],
) -> None:
    """Old and new stand beside each other until the last old request is answered."""
    world = World()
    world.keeper.want((AdapterSpec(name="sql", source=sources("old")),))

    async with world.keeping():
        await world.until(lambda: world.listed() == ("sql",))
        with world.door.entered("sql"):
            world.keeper.want((AdapterSpec(name="sql", source=sources("new")),))
            await world.until(lambda: world.slots.source_of("sql") == sources("new"))
            await asyncio.sleep(0.3)
            beside = set(world.slots.held.values())
        await world.until(lambda: set(world.slots.held.values()) == {sources("new")})

    assert beside == {sources("old"), sources("new")}
    assert {shelf.listed() for shelf in world.told} == {("sql",)}


async def test_a_full_engine_waits_for_room_and_puts_nobody_out(
    sources: Callable[[str], str],
) -> None:
    """A running request's adapter must stay where it is."""
    world = World(FakeSlots(room=2))
    world.keeper.want((AdapterSpec(name="a", source=sources("a")),))

    async with world.keeping():
        await world.until(lambda: world.listed() == ("a",))
        with world.door.entered("a"):
            world.keeper.want((AdapterSpec(name="b", source=sources("b")),))
            await world.until(lambda: world.slots.source_of("a") is None)
            world.keeper.want((AdapterSpec(name="c", source=sources("c")),))
            await world.until(lambda: world.slots.source_of("b") is None)
            await asyncio.sleep(0.3)
            during = set(world.slots.held.values())
        await world.until(lambda: world.listed() == ("c",))

    assert sources("a") in during


async def test_all_adapters_may_change_places_at_once(sources: Callable[[str], str]) -> None:
    """There is room for one more than may be declared, and the rest waits for its turn."""
    world = World(FakeSlots(room=3))
    world.keeper.want(tuple(AdapterSpec(name=n, source=sources(n)) for n in ("a", "b")))

    async with world.keeping():
        await world.until(lambda: world.listed() == ("a", "b"))
        world.keeper.want(tuple(AdapterSpec(name=n, source=sources(n)) for n in ("c", "d")))
        await world.until(lambda: world.listed() == ("c", "d"))
        await world.until(lambda: len(world.slots.held) == 2)

    assert set(world.slots.held.values()) == {sources("c"), sources("d")}


async def test_an_adapter_that_cannot_be_loaded_is_told_and_the_others_serve(
    sources: Callable[[str], str],
) -> None:
    """The replica says why; a corrected declaration ends it."""
    world = World()
    good = AdapterSpec(name="good", source=sources("good"))
    world.keeper.want((AdapterSpec(name="bad", source="/no/such/folder"), good))

    async with world.keeping():
        await world.until(lambda: world.listed() == ("good",))
        (trouble,) = world.told[-1].troubles()
        world.keeper.want((AdapterSpec(name="bad", source=sources("bad")), good))
        await world.until(lambda: world.listed() == ("bad", "good"))

    assert (trouble.adapter, "/no/such/folder" in trouble.cause) == ("bad", True)
    assert world.told[-1].troubles() == ()


async def test_a_jump_of_the_machines_time_shortens_no_grace_and_delays_no_retry(
    sources: Callable[[str], str], tmp_path: Path
) -> None:
    """NTP may set the clock by hours."""
    clock = FakeClock()
    world = World(clock=clock)
    sql = AdapterSpec(name="sql", source=sources("sql"))
    late = AdapterSpec(name="late", source=str(tmp_path / "late"))
    world.keeper.want((sql, late))
    await world.keeper.go_round(world.slots, world.door)

    world.keeper.want((late,))
    await world.keeper.go_round(world.slots, world.door)
    clock.jump(3600.0)
    await world.keeper.go_round(world.slots, world.door)
    in_grace = world.slots.source_of("sql")
    clock.jump(-7200.0)
    (tmp_path / "late").mkdir()
    clock.advance(RETRY_S)
    await world.keeper.go_round(world.slots, world.door)

    assert in_grace == sql.source
    assert world.listed() == ("late",)
