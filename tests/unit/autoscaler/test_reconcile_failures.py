"""Rounds of the autoscaler when something fails: a model, a call of Ray Serve, the leadership."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

import httpx
import pytest

from libs.bus.leadership import Leadership
from libs.contracts.failing import AutoscalerTrouble, FailingModel
from libs.contracts.ids import ModelName
from libs.contracts.lease import ReplicaState
from libs.contracts.model_spec import ModelSpec
from libs.contracts.targets import ManualTarget
from libs.testing.clock import FakeClock
from libs.testing.fake_serve import BROKEN, FakeServe
from libs.testing.in_memory_bus import InMemoryBus
from libs.testing.records import a_lease, a_model
from services.autoscaler.adapters.ray_serve.client import RayServeClient, ServeLimits
from services.autoscaler.domain.applications import ObservedApplication
from services.autoscaler.domain.failures import FIRST_RETRY_S
from services.autoscaler.listener import DemandListener
from services.autoscaler.recorder import Recorder
from services.autoscaler.service import STUMBLE_RETRY_MAX_S, Autoscaler, Outcome, Peers, Report
from services.autoscaler.views import Views, open_views

M = ModelName("m")
BROKEN_SPEC = replace(a_model("m"), source=BROKEN)


@dataclass(slots=True)
class World:
    """An autoscaler that leads, with everything around it in memory."""

    clock: FakeClock = field(default_factory=FakeClock)
    serve: FakeServe = field(default_factory=FakeServe)
    bus: InMemoryBus = field(init=False)
    leadership: Leadership = field(init=False)
    autoscaler: Autoscaler = field(init=False)
    views: Views = field(init=False)

    def __post_init__(self) -> None:
        """Put the parts together."""
        self.bus = InMemoryBus(self.clock)
        self.leadership = Leadership(self.bus, self.clock, service="autoscaler", holder="me")
        self.start_anew()

    def start_anew(self, client: RayServeClient | None = None) -> None:
        """Begin with an autoscaler that remembers nothing."""
        peers = Peers(
            store=self.bus,
            demand=DemandListener(self.bus, self.clock),
            applications=client or RayServeClient(self.serve.client(), ServeLimits()),
            recorder=Recorder(self.bus, self.bus, self.clock),
            leadership=self.leadership,
            clock=self.clock,
        )
        self.autoscaler = Autoscaler(peers, import_path="pkg.mod:build", resync_s=5.0)

    async def declare(self, spec: ModelSpec) -> None:
        """Declare a model."""
        await self.bus.put("models", spec.name, spec)

    async def round(self, *, after_s: float = 0.0) -> Report:
        """Let time pass and go one round as the leader."""
        self.clock.advance(after_s)
        await self.leadership.refresh()
        return await self.autoscaler.reconcile(self.views)

    async def give_up(self) -> None:
        """Declare a model that cannot start, and go on until Serve has given it up."""
        await self.declare(BROKEN_SPEC)
        for _ in range(3):
            await self.round()

    async def failing(self, name: str = "m") -> FailingModel | None:
        """Return what the bus says of a model that does not come."""
        entry = await self.bus.get("targets", f"failing.{name}")
        return entry.value if entry and isinstance(entry.value, FailingModel) else None

    async def trouble(self) -> AutoscalerTrouble | None:
        """Return what the bus says of the autoscaler's trouble."""
        entry = await self.bus.get("targets", "trouble")
        return entry.value if entry and isinstance(entry.value, AutoscalerTrouble) else None

    def starts(self, name: str = "m") -> int:
        """Return how often replicas of a model were started."""
        return self.serve.applications[name].starts


class StoppedAfterItsLook(RayServeClient):
    """Serve as it is seen by a process that is stopped for a minute right after its look."""

    def __init__(self, http: httpx.AsyncClient, limits: ServeLimits, clock: FakeClock) -> None:
        """Take the clock that goes on meanwhile."""
        super().__init__(http, limits)
        self._clock = clock

    async def observe(self) -> tuple[ObservedApplication, ...] | None:
        """Look, and be stopped."""
        found = await super().observe()
        self._clock.advance(60)
        return found


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Return a world in which we lead and follow the bus."""
    world = World()
    async with open_views(world.bus) as world.views:
        yield world


async def test_a_model_that_serve_gave_up_is_told_with_its_error_and_the_next_try(
    world: World,
) -> None:
    """Whoever wants to know reads it off the bus."""
    await world.give_up()

    failing = await world.failing()

    assert failing is not None
    assert (failing.error, failing.blocked) == ("no such file", True)
    assert failing.next_try_at == world.clock.now() + FIRST_RETRY_S


async def test_it_is_tried_again_after_a_pause_that_grows(world: World) -> None:
    """The loop wakes for it, and never sooner."""
    await world.give_up()
    counts = [world.starts()]
    for pause_s in (30, 60, 120):
        early = await world.round(after_s=pause_s - 1)
        wait_s = world.autoscaler.wait_s(early)
        await world.round(after_s=1)
        trying = await world.failing()
        await world.round()
        await world.round()
        counts.append(world.starts())

        assert wait_s == 1.0
        assert trying is not None
        assert (trying.next_try_at, trying.blocked) == (None, True)

    assert counts == [4, 7, 10, 13]


async def test_the_other_models_go_on_meanwhile(world: World) -> None:
    """They start, scale, and are not started anew by another one's tries."""
    await world.give_up()
    await world.declare(a_model("n"))
    await world.round()
    await world.bus.put(
        "targets", "manual.n", ManualTarget(model=ModelName("n"), replicas=3, set_at=1.0)
    )
    for _ in range(4):
        await world.round(after_s=31)

    assert world.serve.applications["n"].target == 3
    assert world.starts("n") == 1
    assert world.starts("m") > 4
    assert await world.failing("n") is None


async def test_two_models_that_fail_are_each_tried_at_their_own_time(world: World) -> None:
    """One's try makes the other look as if it were being deployed, for a moment."""
    await world.give_up()
    await world.round(after_s=20)
    await world.declare(replace(a_model("n"), source=BROKEN))
    for _ in range(3):
        await world.round()
    first = (world.starts("m"), world.starts("n"))
    told = []
    for _ in range(4):
        await world.round(after_s=5)
        await world.round()
        told.append(await world.failing("n"))
    early = (world.starts("m"), world.starts("n"))
    await world.round(after_s=10)
    await world.round()
    await world.round()

    assert first == (4, 4)
    assert early == (7, 4)
    assert {failing.blocked for failing in told if failing} == {True}
    assert {failing.next_try_at for failing in told if failing} == {told[0] and told[0].next_try_at}
    assert (world.starts("m"), world.starts("n")) == (7, 7)


async def test_a_changed_declaration_is_tried_at_once(world: World) -> None:
    """And nothing that was known of the old one is told of it."""
    await world.give_up()

    await world.declare(a_model("m"))
    await world.round()

    assert world.serve.applications["m"].status == "RUNNING"
    assert await world.failing() is None


async def test_a_ready_replica_ends_the_failure(world: World) -> None:
    """Whatever Serve still says of the tries before."""
    await world.declare(a_model("m"))
    failed = replace(a_lease("r1", state=ReplicaState.FAILED), ready_at=None, reason="no disk")
    await world.round()
    await world.bus.put("replicas", "m.r1", failed)
    await world.round()
    told = await world.failing()

    await world.bus.put("replicas", "m.r2", a_lease("r2"))
    await world.round()

    assert told is not None
    assert (told.error, told.blocked) == ("no disk", False)
    assert await world.failing() is None


async def test_zero_by_hand_and_back_tries_at_once(world: World) -> None:
    """An operator who has put the file in its place need not wait for the pause."""
    await world.give_up()
    for replicas in (0, 1):
        target = ManualTarget(model=M, replicas=replicas, set_at=1.0)
        await world.bus.put("targets", "manual.m", target)
        await world.round()
        if not replicas:
            assert "m" not in world.serve.applications
            assert await world.failing() is None

    assert world.serve.applications["m"].status == "DEPLOYING"


async def test_an_autoscaler_that_starts_anew_keeps_the_pause(world: World) -> None:
    """It neither tries at once nor begins with the shortest pause."""
    await world.give_up()
    await world.round(after_s=FIRST_RETRY_S)
    await world.round()
    await world.round()
    before, starts = await world.failing(), world.starts()

    world.start_anew()
    await world.round(after_s=10)
    after = await world.failing()
    await world.round(after_s=49)
    waited = world.starts()
    await world.round(after_s=1)
    await world.round()
    await world.round()

    assert before == after
    assert waited == starts
    assert world.starts() == starts + 3


async def test_a_jump_of_the_clock_tries_nothing_sooner(world: World) -> None:
    """And leaves the leadership where it is."""
    await world.give_up()
    starts = world.starts()

    world.clock.jump(86_400)
    ahead = await world.autoscaler.reconcile(world.views)
    world.clock.jump(-2 * 86_400)
    back = await world.autoscaler.reconcile(world.views)

    assert (ahead.outcome, back.outcome) == (Outcome.UNCHANGED, Outcome.UNCHANGED)
    assert world.starts() == starts
    failing = await world.failing()
    assert failing is not None
    assert failing.next_try_at == pytest.approx(world.clock.now() + FIRST_RETRY_S)


@pytest.mark.parametrize("status", [400, 500, 503])
async def test_a_refused_change_is_told_and_tried_again_ever_more_slowly(
    world: World, status: int
) -> None:
    """Nothing is taken away meanwhile, and the model comes when Serve takes the change."""
    await world.declare(a_model("n"))
    await world.round()
    world.serve.refusing = status
    await world.declare(a_model("m"))
    waits = []
    for _ in range(8):
        report = await world.round(after_s=1)
        waits.append(world.autoscaler.wait_s(report))
    told = await world.trouble()
    targets = {name: app.target for name, app in world.serve.applications.items()}
    world.serve.refusing = None
    await world.round()

    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0, 10.0]
    assert max(waits) == STUMBLE_RETRY_MAX_S
    assert told is not None
    assert str(status) in told.cause
    assert told.since == world.clock.now() - 7
    assert targets == {"n": 1}
    assert world.serve.applications.keys() == {"m", "n"}
    assert await world.trouble() is None


async def test_a_dashboard_that_is_dead_is_told_and_nothing_is_known_without_it(
    world: World,
) -> None:
    """No model is forgotten, none is tried, none shrinks; what was told of failures stays."""
    await world.give_up()
    before = await world.failing()
    world.serve.reachable = False

    outcomes = {(await world.round(after_s=60)).outcome for _ in range(5)}
    told = await world.trouble()
    during = await world.failing()
    world.serve.reachable = True
    await world.round()
    again = world.starts()
    await world.round()
    await world.round()

    assert outcomes == {Outcome.HELD}
    assert told is not None
    assert during == before
    assert world.starts() == again + 3
    assert await world.trouble() is None


async def test_a_serve_that_cannot_be_asked_for_a_moment_loses_nothing(world: World) -> None:
    """Ray's dashboard says "no Serve" while the GCS is away, and means that it does not know."""
    await world.declare(a_model("m"))
    await world.declare(a_model("n"))
    await world.round()
    world.bus.put_raw("models", "n", b"not a model")
    world.serve.started = False

    away = [await world.round(after_s=1) for _ in range(5)]
    told = await world.trouble()
    world.serve.started = True
    back = await world.round(after_s=1)

    assert {report.outcome for report in away} == {Outcome.HELD}
    assert told is not None
    assert "seems not to run" in told.cause
    assert back.outcome is Outcome.UNCHANGED
    assert world.serve.applications.keys() == {"m", "n"}


async def test_a_serve_that_is_really_gone_is_started_with_everything_that_can_be_read(
    world: World,
) -> None:
    """A Ray node that began anew; one unreadable declaration holds up no other model."""
    await world.declare(a_model("m"))
    await world.round()
    world.bus.put_raw("models", "n", b"not a model")
    world.serve.started = False
    world.serve.applications.clear()

    reports = [await world.round(after_s=2) for _ in range(8)]

    assert Outcome.CHANGED in {report.outcome for report in reports}
    assert world.serve.applications.keys() == {"m"}


async def test_a_first_serve_is_not_waited_for(world: World) -> None:
    """It never ran, so the first configuration starts it."""
    await world.declare(a_model("m"))

    report = await world.round()

    assert report.outcome is Outcome.CHANGED
    assert world.serve.started


async def test_a_try_that_serve_refuses_is_still_due(world: World) -> None:
    """It does not count, and comes as soon as Serve takes it."""
    await world.give_up()
    world.serve.refusing = 500
    await world.round(after_s=FIRST_RETRY_S)
    await world.round(after_s=1)
    known = await world.failing()
    world.serve.refusing = None
    await world.round(after_s=1)

    assert known is not None
    assert known.retries == 0
    assert world.serve.applications["m"].status == "DEPLOYING"


async def test_a_leader_that_was_stopped_within_a_round_does_nothing_more(world: World) -> None:
    """When it goes on, another one may lead: its claim has expired by its own clock."""
    await world.declare(a_model("m"))
    await world.round()

    world.start_anew(StoppedAfterItsLook(world.serve.client(), ServeLimits(), world.clock))
    await world.bus.put("targets", "manual.m", ManualTarget(model=M, replicas=3, set_at=1.0))
    report = await world.round()

    assert report.outcome is Outcome.HELD
    assert world.serve.applications["m"].target == 1
