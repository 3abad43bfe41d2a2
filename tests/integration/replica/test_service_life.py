"""A replica's life against the bus in memory, with an engine that does what the test says.

Invariants: the lease tells every state in order; serving never waits for the bus; each fact is
told once; a replica that is asked to leave finishes what runs.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from opentelemetry import trace

from libs.bus.ports import BucketView
from libs.clock import SystemClock
from libs.contracts.events import Fact, ReplicaFailed, ReplicaJoined, ReplicaLeft
from libs.contracts.ids import EventId, Incarnation, ModelName, ReplicaId
from libs.contracts.lease import Endpoint, ReplicaLease, ReplicaState, Versions
from libs.contracts.model_spec import AdapterSpec
from libs.contracts.reports import LoadReport
from libs.contracts.subjects import LOAD_SUBJECTS, REPLICAS_BUCKET
from libs.errors import UsageError
from libs.testing.fake_slots import FakeSlots
from libs.testing.in_memory_bus import InMemoryBus
from services.replica.adapters.http.door import HttpDoor
from services.replica.domain.load import Load
from services.replica.domain.statements import EngineFacts, FrontEnds, Identity
from services.replica.service import DrainLimits, ReplicaService, Surroundings

WHO = Identity(
    replica_id=ReplicaId("r1"),
    incarnation=Incarnation("0badcafe"),
    model=ModelName("tiny"),
    device="cpu",
    max_num_seqs=4,
    pid=1,
    started_at=0.0,
)
KEY = "tiny.r1"


@dataclass
class FakeEngine:
    """An engine whose death a test decides."""

    death: str | None = None
    aliases: tuple[str, ...] | None = None
    slots: FakeSlots = field(default_factory=FakeSlots)
    facts: EngineFacts = field(
        default_factory=lambda: EngineFacts(
            executor="FakeExecutor",
            versions=Versions(sluice="1", vllm="2", ray="3"),
            front_ends=FrontEnds(address=Endpoint(host="127.0.0.1", port=4242)),
        )
    )

    def failure(self) -> str | None:
        """Return the death that the test gave it."""
        return self.death

    def load(self) -> Load:
        """Return a load."""
        return Load(
            running=2, waiting=0, kv_cache_usage_ratio=0.1, ttft_p50_s=None, tokens_per_s=5.0
        )

    def answer_to(self, aliases: tuple[str, ...]) -> None:
        """Remember the names."""
        self.aliases = aliases


@dataclass
class FakeHost:
    """Starts at once, or when the gate opens, or never."""

    gate: asyncio.Event | None = None
    error: Exception | None = None
    engine: FakeEngine = field(default_factory=FakeEngine)
    door: HttpDoor = field(default_factory=HttpDoor)
    aliases: tuple[str, ...] | None = None
    is_running: bool = False

    @asynccontextmanager
    async def running(self, aliases: tuple[str, ...]) -> AsyncIterator[tuple[FakeEngine, HttpDoor]]:
        """Run while the body runs."""
        self.aliases = aliases
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        self.is_running = True
        yield self.engine, self.door
        self.is_running = False


class Replica:
    """A service with its fakes."""

    def __init__(self, host: FakeHost | None = None, *, deadline_s: float = 5.0) -> None:
        """Wire it to a fresh bus."""
        self.bus = InMemoryBus()
        self.host = host or FakeHost()
        numbers = itertools.count()
        self.service = ReplicaService(
            WHO,
            self.host,
            limits=DrainLimits(grace_s=0.05, deadline_s=deadline_s),
            world=Surroundings(
                store=self.bus,
                bus=self.bus,
                clock=SystemClock(),
                tracer=trace.NoOpTracer(),
                new_event_id=lambda: EventId(f"{next(numbers):032x}"),
            ),
        )
        self.states: list[ReplicaState] = []
        self.leases: list[ReplicaLease] = []

    async def lease(self) -> ReplicaLease | None:
        """Read the lease."""
        entry = await self.bus.get(REPLICAS_BUCKET, KEY)
        if entry is None:
            return None
        assert isinstance(entry.value, ReplicaLease)
        return entry.value

    async def facts(self) -> list[Fact]:
        """Read the facts."""
        return [stored.value async for stored in self.bus.facts()]

    @asynccontextmanager
    async def living(self) -> AsyncIterator[asyncio.Task[None]]:
        """Run it, and watch the states that its lease tells."""
        async with self.bus.view(REPLICAS_BUCKET) as view, asyncio.timeout(10):
            life = asyncio.create_task(self.service.run())
            watch = asyncio.create_task(self._watch(view))
            try:
                yield life
                await life
                await asyncio.sleep(0)
            finally:
                life.cancel()
                watch.cancel()
                await asyncio.gather(life, watch, return_exceptions=True)

    async def until_adapters_are(self, names: tuple[str, ...]) -> None:
        """Wait until its lease lists these."""
        async with self.bus.view(REPLICAS_BUCKET) as view:
            while (lease := await self.lease()) is None or lease.adapters != names:
                await view.changed(timeout_s=1)

    async def _watch(self, view: BucketView) -> None:
        while True:
            for entry in view.snapshot().entries.values():
                assert isinstance(entry.value, ReplicaLease)
                self.leases.append(entry.value)
                if not self.states or self.states[-1] is not entry.value.state:
                    self.states.append(entry.value.state)
            await view.changed(timeout_s=10)


async def test_the_lease_tells_every_state_from_start_to_stop() -> None:
    """A router that watches sees starting, ready, draining, stopped."""
    gate = asyncio.Event()
    replica = Replica(FakeHost(gate=gate))

    async with replica.living():
        await asyncio.sleep(0.02)
        starting = await replica.lease()
        gate.set()
        await replica.service.until_settled()
        await asyncio.sleep(0.02)
        ready = await replica.lease()
        replica.service.ask_to_drain()

    assert starting is not None
    assert starting.address is None
    assert ready is not None
    assert (str(ready.address), ready.executor) == ("127.0.0.1:4242", "FakeExecutor")
    assert replica.states == [
        ReplicaState.STARTING,
        ReplicaState.READY,
        ReplicaState.DRAINING,
        ReplicaState.STOPPED,
    ]
    assert not replica.host.is_running


async def test_aliases_reach_an_engine_whether_it_runs_or_not() -> None:
    """Those that are known before it is ready, and those that come later."""
    replica = Replica()
    replica.service.answer_to(("early",))

    async with replica.living():
        await replica.service.until_settled()
        first = replica.host.engine.aliases
        replica.service.answer_to(("late", "later"))
        second = replica.host.engine.aliases
        replica.service.ask_to_drain()

    assert first == ("early",)
    assert second == ("late", "later")


async def test_a_replica_is_ready_with_its_adapters_and_says_what_it_lacks(
    tmp_path: Path,
) -> None:
    """Its first `ready` lists what it serves, and the cause of what it does not."""
    replica = Replica()
    replica.service.want_adapters(
        (
            AdapterSpec(name="sql", source=str(tmp_path)),
            AdapterSpec(name="lost", source=str(tmp_path / "lost")),
        )
    )

    async with replica.living():
        await replica.service.until_settled()
        replica.service.ask_to_drain()

    first = next(lease for lease in replica.leases if lease.state is ReplicaState.READY)
    assert first.adapters == ("sql",)
    assert [trouble.adapter for trouble in first.adapter_troubles] == ["lost"]


async def test_a_wish_for_adapters_reaches_the_lease_of_a_replica_that_serves(
    tmp_path: Path,
) -> None:
    """Without a restart, in both directions."""
    replica = Replica()

    async with replica.living(), asyncio.timeout(5):
        await replica.service.until_settled()
        replica.service.want_adapters((AdapterSpec(name="sql", source=str(tmp_path)),))
        await replica.until_adapters_are(("sql",))
        replica.service.want_adapters(())
        await replica.until_adapters_are(())
        replica.service.ask_to_drain()

    joined = [fact for fact in await replica.facts() if isinstance(fact, ReplicaJoined)]
    assert len(joined) == 1


async def test_a_replica_that_leaves_waits_for_what_runs() -> None:
    """The engine stays until the last request is answered."""
    replica = Replica()

    async with replica.living() as life:
        await replica.service.until_settled()
        with replica.host.door.entered():
            replica.service.ask_to_drain()
            await asyncio.sleep(0.3)
            was_alive = not life.done() and replica.host.is_running

    assert was_alive
    joined, left = await replica.facts()
    assert isinstance(joined, ReplicaJoined)
    assert isinstance(left, ReplicaLeft)
    assert left.unfinished == 0


async def test_new_requests_are_taken_during_the_grace_and_refused_after_it() -> None:
    """The router gets the time to take the replica out first."""
    replica = Replica()

    async with replica.living():
        await replica.service.until_settled()
        with replica.host.door.entered():
            replica.service.ask_to_drain()
            await asyncio.sleep(0.03)
            during = (replica.host.door.is_leaving, replica.host.door.is_open)
            await asyncio.sleep(0.3)
            after = replica.host.door.is_open

    assert replica.host.door.is_leaving
    assert during[1] is True
    assert after is False


async def test_the_drains_deadline_cuts_what_still_runs_and_says_how_many() -> None:
    """A request without end does not hold a device for ever."""
    replica = Replica(deadline_s=0.1)

    with replica.host.door.entered():
        async with replica.living():
            await replica.service.until_settled()
            replica.service.ask_to_drain()

    left = (await replica.facts())[-1]
    assert isinstance(left, ReplicaLeft)
    assert left.unfinished == 1


async def test_a_dead_engine_fails_the_replica_with_its_cause() -> None:
    """The lease, a fact and the standing say it."""
    replica = Replica()

    async with replica.living():
        await replica.service.until_settled()
        replica.host.engine.death = "out of memory"

    lease = await replica.lease()
    assert lease is not None
    assert (lease.state, lease.reason) == (ReplicaState.FAILED, "out of memory")
    failed = (await replica.facts())[-1]
    assert isinstance(failed, ReplicaFailed)
    assert failed.cause == "out of memory"
    assert not replica.host.door.is_open


async def test_an_engine_that_does_not_start_says_why_in_the_lease() -> None:
    """What the user did wrong reaches him."""
    replica = Replica(FakeHost(error=UsageError("The model directory /x does not exist.")))

    async with replica.living():
        standing = await replica.service.until_settled()

    lease = await replica.lease()
    assert standing.state is ReplicaState.FAILED
    assert lease is not None
    assert lease.reason == "The model directory /x does not exist."


async def test_a_replica_that_is_asked_to_leave_while_it_starts_stops_at_once() -> None:
    """Nobody waits a minute for an engine that is not wanted."""
    replica = Replica(FakeHost(gate=asyncio.Event()))

    async with replica.living():
        await asyncio.sleep(0.02)
        replica.service.ask_to_drain()

    lease = await replica.lease()
    assert lease is not None
    assert lease.state is ReplicaState.STOPPED
    assert await replica.facts() == []


async def test_serving_goes_on_without_a_bus_and_everything_is_told_when_it_returns() -> None:
    """Facts wait for the bus, and none is told twice."""
    replica = Replica()

    async with replica.living():
        replica.bus.disconnect()
        await replica.service.until_settled()
        was_running = replica.host.is_running
        await asyncio.sleep(0.05)
        replica.bus.reconnect()
        await asyncio.sleep(1.1)
        ready = await replica.lease()
        replica.service.ask_to_drain()

    assert was_running
    assert ready is not None
    assert ready.state is ReplicaState.READY
    kinds = [type(fact) for fact in await replica.facts()]
    assert kinds == [ReplicaJoined, ReplicaLeft]


async def test_a_ready_replica_reports_its_load_every_second() -> None:
    """The autoscaler hears the engine's own numbers."""
    replica = Replica()

    async with replica.living(), replica.bus.reports(LOAD_SUBJECTS) as reports:
        report = (await anext(reports)).value
        replica.service.ask_to_drain()

    assert isinstance(report, LoadReport)
    assert (report.replica_id, report.running, report.tokens_per_s) == ("r1", 2, 5.0)


async def test_a_lease_is_refreshed_before_it_expires() -> None:
    """It is still there after its time to live."""
    replica = Replica()

    async with replica.living():
        await asyncio.sleep(5.5)
        lease = await replica.lease()
        replica.service.ask_to_drain()

    assert lease is not None
    assert lease.state is ReplicaState.READY


@pytest.mark.parametrize("times", [1, 3])
async def test_asking_to_drain_again_changes_nothing(times: int) -> None:
    """The fact is told once."""
    replica = Replica()

    async with replica.living():
        await replica.service.until_settled()
        for _ in range(times):
            replica.service.ask_to_drain()

    left = [fact for fact in await replica.facts() if isinstance(fact, ReplicaLeft)]
    assert len(left) == 1
