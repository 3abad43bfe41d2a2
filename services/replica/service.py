"""The life of one replica: bring the engine up, say so, serve, drain, say goodbye.

Serving never waits for the bus: what the replica says goes through an `Announcer` beside it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Never

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, Tracer

from libs.bus.ports import EventBus, StateStore
from libs.clock import Clock, first_of, wait_for_event
from libs.contracts.events import Fact, Stamp
from libs.contracts.ids import EventId
from libs.contracts.lease import ReplicaState
from libs.contracts.model_spec import AdapterSpec
from libs.errors import ControlPlaneError
from libs.telemetry.logging import get_logger
from services.replica.adapter_keeper import AdapterKeeper
from services.replica.announcer import Announcer
from services.replica.domain import statements
from services.replica.domain.adapters import Shelf
from services.replica.domain.lifecycle import ENDS, LifecycleEvent
from services.replica.domain.statements import Identity, Standing
from services.replica.ports import Door, Engine, Host

LOAD_REPORT_PERIOD_S: Final = 1.0
ENGINE_CHECK_PERIOD_S: Final = 0.2

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainLimits:
    """How a replica leaves.

    Attributes:
        grace_s: how long it still takes requests after its lease says `draining`, and requests for
            an adapter that its lease no longer lists, so that the router takes them out of its
            maps before anybody is refused.
        deadline_s: how long running requests may take after that; then they are cut.
    """

    grace_s: float
    deadline_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a replica needs of the world beside its engine."""

    store: StateStore
    bus: EventBus
    clock: Clock
    tracer: Tracer
    new_event_id: Callable[[], EventId]


class ReplicaService:
    """One replica from its start to its end; `run` is its whole life."""

    def __init__(
        self, identity: Identity, host: Host, *, limits: DrainLimits, world: Surroundings
    ) -> None:
        """Take the parts; nothing starts before `run`."""
        self._identity = identity
        self._host = host
        self._limits = limits
        self._world = world
        self._began_s = world.clock.monotonic()
        self._standing = Standing()
        self._settled = asyncio.Event()
        self._drain_asked = asyncio.Event()
        self._trace = Context()
        self._aliases: tuple[str, ...] = ()
        self._engine: Engine | None = None
        self._adapters = AdapterKeeper(
            world.clock, grace_s=limits.grace_s, tell=self._list_adapters
        )
        self._announcer = Announcer(
            world.store, world.bus, world.clock, statements.lease(identity, self._standing)
        )

    @property
    def standing(self) -> Standing:
        """How it stands now."""
        return self._standing

    async def until_settled(self) -> Standing:
        """Wait for the end of the start. A replica that is still STARTING after that has failed."""
        await self._settled.wait()
        return self._standing

    def ask_to_drain(self) -> None:
        """Have it leave: finish what runs, then stop. Asking again changes nothing."""
        self._drain_asked.set()

    def answer_to(self, aliases: tuple[str, ...]) -> None:
        """Serve the model under these names too; running requests do not notice."""
        self._aliases = aliases
        if self._engine is not None:
            self._engine.answer_to(aliases)

    def want_adapters(self, adapters: tuple[AdapterSpec, ...]) -> None:
        """Have these adapters, and no others; running requests finish with what they began with.

        What is wanted before it is ready is loaded before it says so.
        """
        self._adapters.want(adapters)

    async def run(self) -> None:
        """Live: returns when the replica has stopped or failed."""
        try:
            async with asyncio.TaskGroup() as group:
                voice = group.create_task(self._announcer.keep())
                await self._start_and_live(group)
                voice.cancel()
        finally:
            self._settled.set()
        await self._announcer.write()

    async def _start_and_live(self, group: asyncio.TaskGroup) -> None:
        span = self._begin_change("replica start")
        life = group.create_task(self._live())
        await first_of(self._settled, self._drain_asked)
        span.end()
        if self._standing.state is ReplicaState.STARTING:
            life.cancel()
        await asyncio.wait([life])
        self._abandon_start()

    async def _live(self) -> None:
        try:
            async with (
                self._host.running(self._aliases) as (engine, door),
                asyncio.TaskGroup() as group,
            ):
                await self._adapters.go_round(engine.slots, door)
                self._become_ready(engine)
                beside = [
                    group.create_task(self._report_load(engine)),
                    group.create_task(self._adapters.keep(engine.slots, door)),
                ]
                await self._serve(engine, door)
                for task in beside:
                    task.cancel()
        except Exception as exc:  # noqa: BLE001 - the one place where any error ends the replica
            _log.exception("replica_broke")
            self._fail(_cause_of(exc))

    def _become_ready(self, engine: Engine) -> None:
        self._engine = engine
        engine.answer_to(self._aliases)
        ready = self._standing.with_ready(at=self._world.clock.now(), engine=engine.facts)
        address = engine.facts.front_ends.address
        joined = statements.joined(
            self._identity,
            self._stamp(),
            address=address,
            start_duration_s=self._since(self._began_s),
        )
        self._move(ready, joined)

    async def _serve(self, engine: Engine, door: Door) -> None:
        while (cause := engine.failure()) is None:
            if await self._is_asked_to_drain():
                await self._drain(engine, door)
                return
        door.close()
        self._fail(cause)

    async def _is_asked_to_drain(self) -> bool:
        clock, event = self._world.clock, self._drain_asked
        return await wait_for_event(clock, event, timeout_s=ENGINE_CHECK_PERIOD_S)

    async def _drain(self, engine: Engine, door: Door) -> None:
        began_s = self._world.clock.monotonic()
        span = self._begin_change("replica drain")
        self._move(self._standing.with_event(LifecycleEvent.DRAIN_ASKED))
        door.leave()
        await asyncio.sleep(self._limits.grace_s)
        door.close()
        emptied = await self._emptied(engine, door)
        unfinished = 0 if emptied else door.in_flight
        self._move(
            self._standing.with_event(LifecycleEvent.DRAINED),
            statements.left(
                self._identity,
                self._stamp(),
                drain_duration_s=self._since(began_s),
                unfinished=unfinished,
            ),
        )
        span.set_attribute("sluice.replica.unfinished", unfinished)
        span.end()

    async def _emptied(self, engine: Engine, door: Door) -> bool:
        """Wait until no request is being answered; False at the deadline, or when the engine dies.

        A front end may wait for a dead engine for as long as its own limit says.
        """
        waiting = asyncio.create_task(  # tidy: allow orphan-task - awaited or cancelled below
            door.emptied(timeout_s=self._limits.deadline_s)
        )
        while not (await asyncio.wait([waiting], timeout=ENGINE_CHECK_PERIOD_S))[0]:
            if engine.failure() is not None:
                waiting.cancel()
                return False
        return waiting.result()

    def _fail(self, cause: str) -> None:
        if self._standing.state not in ENDS:
            self._move(
                self._standing.with_event(LifecycleEvent.FAILED, reason=cause),
                statements.failed(self._identity, self._stamp(), cause=cause),
            )

    def _abandon_start(self) -> None:
        """Walk a replica that was asked to leave before it was ready through the same states."""
        if self._standing.state is ReplicaState.STARTING:
            self._move(self._standing.with_event(LifecycleEvent.DRAIN_ASKED))
            self._move(self._standing.with_event(LifecycleEvent.DRAINED))

    async def _report_load(self, engine: Engine) -> Never:
        while True:
            await asyncio.sleep(LOAD_REPORT_PERIOD_S)
            now = self._world.clock.now()
            report = statements.load_report(self._identity, engine.load(), observed_at=now)
            await self._announcer.report(report)

    def _move(self, standing: Standing, *facts: Fact) -> None:
        before, self._standing = self._standing.state, standing
        lease = statements.lease(self._identity, standing)
        self._announcer.say(lease, *facts, context=self._trace)
        self._settled.set()
        _log.info(
            "replica_state_changed",
            before=before,
            after=standing.state,
            reason=standing.reason,
            since_start_s=round(self._since(self._began_s), 3),
        )

    def _since(self, began_s: float) -> float:
        return self._world.clock.monotonic() - began_s

    def _list_adapters(self, shelf: Shelf) -> None:
        """Have the lease say what is served by name; the route follows it."""
        self._standing = self._standing.with_adapters(shelf.listed(), shelf.troubles())
        lease = statements.lease(self._identity, self._standing)
        self._announcer.say(lease, context=self._trace)

    def _begin_change(self, name: str) -> Span:
        """Begin the trace of a change: what is said until the next change belongs to it."""
        span = self._world.tracer.start_span(name, context=Context())
        span.set_attribute("sluice.model", self._identity.model)
        span.set_attribute("sluice.replica.id", self._identity.replica_id)
        self._trace = trace.set_span_in_context(span, Context())
        return span

    def _stamp(self) -> Stamp:
        return Stamp(
            event_id=self._world.new_event_id(),
            occurred_at=self._world.clock.now(),
            source=f"replica/{self._identity.replica_id}",
        )


def _cause_of(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    text = str(error)
    if isinstance(error, ControlPlaneError) and text:
        return text
    # Outside our own errors a message without its type may be no more than a name.
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
