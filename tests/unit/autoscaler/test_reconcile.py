"""Whole rounds of the autoscaler on a bus in memory and a Serve in memory; time stands still."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from libs.bus.leadership import Leadership
from libs.contracts.events import Fact, ScaleDecided, ScaleDone
from libs.contracts.ids import ModelName
from libs.contracts.leader import LeaderClaim
from libs.contracts.lease import ReplicaState
from libs.contracts.targets import DecidedTarget, ManualTarget, ScaleReason
from libs.testing.clock import FakeClock
from libs.testing.fake_serve import FakeServe
from libs.testing.in_memory_bus import InMemoryBus
from libs.testing.records import a_demand_report, a_lease, a_model
from services.autoscaler.adapters.ray_serve.client import RayServeClient, ServeLimits
from services.autoscaler.listener import DemandListener
from services.autoscaler.recorder import Recorder
from services.autoscaler.service import Autoscaler, Outcome, Peers
from services.autoscaler.views import Views, open_views

M = ModelName("m")


@dataclass(slots=True)
class World:
    """An autoscaler and everything around it."""

    clock: FakeClock = field(default_factory=FakeClock)
    serve: FakeServe = field(default_factory=FakeServe)
    bus: InMemoryBus = field(init=False)
    leadership: Leadership = field(init=False)
    autoscaler: Autoscaler = field(init=False)

    def __post_init__(self) -> None:
        """Put the parts together."""
        self.bus = InMemoryBus(self.clock)
        self.leadership = Leadership(self.bus, self.clock, service="autoscaler", holder="me")
        self.start_anew()

    def start_anew(self) -> None:
        """Begin with an autoscaler that remembers nothing."""
        peers = Peers(
            store=self.bus,
            demand=DemandListener(self.bus, self.clock),
            applications=RayServeClient(self.serve.client(), ServeLimits()),
            recorder=Recorder(self.bus, self.bus, self.clock),
            leadership=self.leadership,
            clock=self.clock,
        )
        self.autoscaler = Autoscaler(peers, import_path="pkg.mod:build", resync_s=5.0)

    async def declare(self, name: str = "m", *, replicas_min: int = 1) -> None:
        """Declare a model."""
        await self.bus.put("models", name, a_model(name, replicas_min=replicas_min))

    async def pin(self, replicas: int) -> None:
        """Set a model's target by hand."""
        target = ManualTarget(model=M, replicas=replicas, set_at=self.clock.now())
        await self.bus.put("targets", "manual.m", target)

    async def facts(self) -> list[Fact]:
        """Read the record."""
        return [stored.value async for stored in self.bus.facts()]

    def targets(self) -> dict[str, int]:
        """Return how many replicas Serve works towards."""
        return {name: app.target for name, app in self.serve.applications.items()}

    async def decided(self, name: str = "m") -> DecidedTarget | None:
        """Return the decision that was written down."""
        entry = await self.bus.get("targets", f"decided.{name}")
        return entry.value if entry and isinstance(entry.value, DecidedTarget) else None


@pytest.fixture
async def world() -> World:
    """Return a world in which we lead."""
    world = World()
    await world.leadership.refresh()
    return world


@asynccontextmanager
async def following(world: World) -> AsyncIterator[Views]:
    """Follow the bus."""
    async with open_views(world.bus) as views:
        yield views


async def test_a_declared_model_gets_an_application_with_its_minimum(world: World) -> None:
    """And the decision is on record, with its reason."""
    await world.declare(replicas_min=2)

    async with following(world) as views:
        report = await world.autoscaler.reconcile(views)

    decided = await world.bus.get("targets", "decided.m")
    assert report.outcome is Outcome.CHANGED
    assert world.targets() == {"m": 2}
    assert decided is not None
    assert decided.value == DecidedTarget(
        model=M, replicas=2, reason=ScaleReason.MINIMUM, decided_at=world.clock.now()
    )
    (fact,) = await world.facts()
    assert isinstance(fact, ScaleDecided)
    assert (fact.target, fact.previous, fact.observed) == (2, None, 0)


async def test_the_same_state_again_changes_nothing(world: World) -> None:
    """No request that changes anything, no fact, however often the loop runs."""
    await world.declare()

    async with following(world) as views:
        await world.autoscaler.reconcile(views)
        changes, facts = list(world.serve.changes), await world.facts()
        for _ in range(5):
            world.clock.advance(1.0)
            await world.leadership.refresh()
            report = await world.autoscaler.reconcile(views)

            assert report.outcome is Outcome.UNCHANGED

    assert world.serve.changes == changes
    assert await world.facts() == facts


async def test_an_autoscaler_that_starts_anew_changes_nothing(world: World) -> None:
    """All it needs is on the bus and in Serve."""
    await world.declare()
    async with following(world) as views:
        await world.autoscaler.reconcile(views)
        changes, facts = list(world.serve.changes), await world.facts()

        world.start_anew()
        report = await world.autoscaler.reconcile(views)

    assert report.outcome is Outcome.UNCHANGED
    assert (world.serve.changes, await world.facts()) == (changes, facts)


async def test_a_person_scales_and_takes_it_back(world: World) -> None:
    """One scale call each way; nothing is deployed again."""
    await world.declare()
    async with following(world) as views:
        await world.autoscaler.reconcile(views)

        await world.pin(3)
        await world.autoscaler.reconcile(views)
        pinned = world.targets()
        await world.bus.delete("targets", "manual.m")
        await world.autoscaler.reconcile(views)

    assert pinned == {"m": 3}
    assert world.targets() == {"m": 1}
    assert world.serve.applications["m"].starts == 1
    reasons = [fact.reason for fact in await world.facts() if isinstance(fact, ScaleDecided)]
    assert reasons == [ScaleReason.MINIMUM, ScaleReason.MANUAL, ScaleReason.MINIMUM]


async def test_a_person_may_ask_for_no_replicas_and_for_some_again(world: World) -> None:
    """Zero and back."""
    await world.declare()
    async with following(world) as views:
        await world.autoscaler.reconcile(views)

        await world.pin(0)
        await world.autoscaler.reconcile(views)
        none = world.targets()
        await world.pin(1)
        await world.autoscaler.reconcile(views)

    assert none == {"m": 0}
    assert world.targets() == {"m": 1}


async def test_a_model_that_is_taken_back_loses_its_application(world: World) -> None:
    """Also when it was the last one; the decision about it goes too."""
    await world.declare()
    async with following(world) as views:
        await world.autoscaler.reconcile(views)

        await world.bus.delete("models", "m")
        await world.autoscaler.reconcile(views)

    assert world.targets() == {}
    assert await world.bus.get("targets", "decided.m") is None


async def test_a_bus_that_lost_its_disk_takes_no_replica_away(world: World) -> None:
    """Nobody declared that the models should go."""
    await world.declare()
    await world.pin(3)
    async with following(world) as views:
        await world.autoscaler.reconcile(views)
        before = world.targets()

        world.bus.disconnect()
        away = await world.autoscaler.reconcile(views)
        world.clock.advance(1.0)
        world.bus.wipe()
        world.bus.reconnect()
        await world.leadership.refresh()
        back = await world.autoscaler.reconcile(views)

    assert world.targets() == before == {"m": 3}
    assert (away.outcome, away.reason) == (Outcome.HELD, "bus_away")
    assert (back.outcome, back.reason) == (Outcome.HELD, "models_unknown")


async def test_a_declaration_that_cannot_be_read_keeps_its_application(world: World) -> None:
    """While the other models go on as declared."""
    await world.declare()
    await world.declare("n")
    async with following(world) as views:
        await world.autoscaler.reconcile(views)

        world.bus.put_raw("models", "m", b"not a model")
        await world.bus.delete("models", "n")
        await world.declare("o")
        await world.autoscaler.reconcile(views)

    assert world.targets() == {"m": 1, "o": 1}
    assert world.serve.applications["m"].starts == 1


async def test_a_serve_that_is_away_is_waited_for(world: World) -> None:
    """The decision is on record; the deployment follows when Serve is back."""
    await world.declare()
    world.serve.reachable = False
    async with following(world) as views:
        away = await world.autoscaler.reconcile(views)
        world.serve.reachable = True

        back = await world.autoscaler.reconcile(views)

    assert away.outcome is Outcome.HELD
    assert back.outcome is Outcome.CHANGED
    assert world.targets() == {"m": 1}


async def test_a_serve_that_lost_everything_gets_everything_again(world: World) -> None:
    """A Ray cluster that was started anew."""
    await world.declare()
    await world.pin(2)
    async with following(world) as views:
        await world.autoscaler.reconcile(views)
        world.serve.applications.clear()

        await world.autoscaler.reconcile(views)

    assert world.targets() == {"m": 2}


async def test_applications_that_are_built_are_left_alone(world: World) -> None:
    """Serve shows no deployment yet; nothing is sent again."""
    world.serve.building = True
    await world.declare()
    async with following(world) as views:
        await world.autoscaler.reconcile(views)

        report = await world.autoscaler.reconcile(views)

    assert report.outcome is Outcome.UNCHANGED
    assert len(world.serve.changes) == 1


async def test_only_the_leader_acts() -> None:
    """A second autoscaler waits until the first one's claim has expired."""
    world = World()
    claim = LeaderClaim(service="autoscaler", holder="other", claimed_at=world.clock.now())
    await world.bus.put("leaders", "autoscaler", claim, ttl_s=5)
    await world.declare()
    async with following(world) as views:
        await world.leadership.refresh()
        standby = await world.autoscaler.reconcile(views)
        world.clock.advance(5.0)
        await world.leadership.refresh()
        leading = await world.autoscaler.reconcile(views)

    assert (standby.outcome, standby.reason) == (Outcome.HELD, "standby")
    assert leading.outcome is Outcome.CHANGED


async def test_the_effect_of_a_decision_is_recorded_once(world: World) -> None:
    """When as many replicas are ready as were decided."""
    await world.declare()
    async with following(world) as views:
        await world.autoscaler.reconcile(views)
        await world.bus.put("replicas", "m.r1", a_lease("r1", state=ReplicaState.STARTING))
        world.clock.advance(3.0)
        await world.leadership.refresh()
        await world.autoscaler.reconcile(views)
        await world.bus.put("replicas", "m.r1", a_lease("r1"))
        await world.autoscaler.reconcile(views)
        await world.autoscaler.reconcile(views)

    done = [fact for fact in await world.facts() if isinstance(fact, ScaleDone)]
    assert [(fact.target, fact.duration_s) for fact in done] == [(1, 3.0)]


async def test_a_serve_that_comes_late_is_found_soon(world: World) -> None:
    """At start Ray takes its time; nobody waits for the slow resync after that."""
    stop = asyncio.Event()
    world.serve.reachable = False
    await world.declare()
    running = asyncio.create_task(world.autoscaler.run(stop))
    async with asyncio.timeout(5):
        for _ in range(100):
            await asyncio.sleep(0)
        world.serve.reachable = True
        began = world.clock.now()
        while not world.serve.applications:
            await asyncio.sleep(0.001)
            world.clock.advance(0.01)
        took_s = world.clock.now() - began
        stop.set()
        await running

    assert took_s < 1.0


async def test_the_loop_wakes_on_changes_and_hands_over_when_stopped(world: World) -> None:
    """No poll is needed to see a declaration; stopping gives the leadership back."""
    stop = asyncio.Event()
    running = asyncio.create_task(world.autoscaler.run(stop))
    async with asyncio.timeout(5):
        await world.declare()
        while not world.serve.applications:
            await asyncio.sleep(0.01)
            world.clock.advance(0.01)
        stop.set()
        await running

    assert world.targets() == {"m": 1}
    assert await world.bus.get("leaders", "autoscaler") is None


async def test_a_wanted_model_gets_its_first_replica_and_keeps_it(world: World) -> None:
    """The loop is woken by the report; when nobody waits any more, nothing is taken away."""
    await world.declare(replicas_min=0)
    async with running(world):
        await until_target(world, "m", 0)
        before = world.targets()
        await world.bus.report(a_demand_report(held=2))
        await until_target(world, "m", 1)
        await world.bus.report(a_demand_report(held=0))
        await world.declare("n")
        await until_target(world, "n", 1)

    decided = await world.decided()
    assert before == {}
    assert world.targets() == {"m": 1, "n": 1}
    assert decided is not None
    assert decided.reason is ScaleReason.DEMAND


async def test_a_persons_zero_outweighs_whoever_waits(world: World) -> None:
    """Their requests are held for a while and then refused, until the person gives it back."""
    await world.declare(replicas_min=0)
    await world.pin(0)
    async with running(world):
        await until_target(world, "m", 0)
        await world.bus.report(a_demand_report(held=2))
        await world.declare("n")
        await until_target(world, "n", 1)
        pinned = world.targets()
        await world.bus.report(a_demand_report(held=2))
        await world.bus.delete("targets", "manual.m")
        await until_target(world, "m", 1)

    assert pinned == {"n": 1}
    assert world.targets() == {"m": 1, "n": 1}


@asynccontextmanager
async def running(world: World) -> AsyncIterator[None]:
    """Let the autoscaler's own loop run beside the body."""
    stop = asyncio.Event()
    loop = asyncio.create_task(world.autoscaler.run(stop))
    async with asyncio.timeout(10):
        yield
        stop.set()
        await loop


async def until_target(world: World, name: str, target: int) -> None:
    """Let time pass until a decision is written down and Serve knows it."""
    while True:
        decided = await world.decided(name)
        if decided and decided.replicas == target == world.targets().get(name, 0):
            return
        await asyncio.sleep(0.001)
        world.clock.advance(0.01)
