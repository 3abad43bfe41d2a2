"""The loop: observe the edge, decide what it should be, do the steps, record them.

Everything else only wakes it: a change on the bus, the edge's end, or the time to look again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final, Never

from libs.clock import Clock
from libs.contracts.subjects import (
    MODELS_BUCKET,
    REPLICAS_BUCKET,
    TARGETS_BUCKET,
    TENANTS_BUCKET,
)
from libs.errors import PeerUnreachableError, TransientError, UsageError
from libs.telemetry.logging import get_logger
from services.router_config.certificate import CertificateWatch
from services.router_config.domain.desire import desire
from services.router_config.domain.drift import Left, drift, leave
from services.router_config.domain.model import Desired, Known, PoolName, ReloadReason, ServerKey
from services.router_config.domain.plan import POOLS_PER_KIND_MAX, Action, RoutingPlan, plan
from services.router_config.ports import (
    Counters,
    Done,
    Edge,
    EdgeView,
    Memory,
    Outcome,
    Program,
    Refused,
    SavedRouting,
)
from services.router_config.recorder import Change, Recorder
from services.router_config.views import BusViews

UNANSWERED_MAX: Final = 5
"""A program that leaves this many looks in a row unanswered is ended and started again."""

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often and how patient, all in seconds.

    Attributes:
        resync_s: how often the edge is looked at when nothing wakes the loop.
        drain_poll_s: the same while a server is leaving.
        grace_s: how long the bus must be whole before a silent, never checked server leaves.
        drain_timeout_s: how long a leaving server may finish its streams.
    """

    resync_s: float
    drain_poll_s: float
    grace_s: float
    drain_timeout_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How things stand after the last look, for whoever reports it.

    Attributes:
        view: None before the first look.
        trouble: why the edge could not be brought to what it should be; empty when it was.
        certificate_trouble: why the certificate file is not what is served; empty when it is.
    """

    known: Known
    view: EdgeView | None = None
    counters: Counters
    unplaced: tuple[str, ...] = ()
    trouble: str = ""
    certificate_trouble: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peers:
    """What the loop acts on and tells."""

    edge: Edge
    program: Program
    memory: Memory
    recorder: Recorder
    certificate: CertificateWatch


@dataclass(slots=True, kw_only=True)
class _Memo:
    """What the loop carries from one round to the next."""

    leaving_since: Mapping[ServerKey, float] = field(default_factory=dict)
    refused: tuple[str, ...] = ()
    unanswered: int = 0
    left: Left | None = None
    standing: Standing


class RouterConfig:
    """Keeps one edge equal to what the bus and the edge's own checks say."""

    def __init__(
        self,
        peers: Peers,
        views: Callable[[Callable[[], None]], BusViews],
        *,
        pace: Pace,
        clock: Clock,
    ) -> None:
        """Take the peers; `views` makes bus views from a function that wakes this loop."""
        self._peers = peers
        self._pace = pace
        self._clock = clock
        self._looked = asyncio.Event()
        self._holding_changed = asyncio.Event()
        self._wake = asyncio.Event()
        self._views = views(self._wake.set)
        counters = peers.memory.counters()
        self._memo = _Memo(standing=Standing(known=Known(), counters=counters))

    def standing(self) -> Standing:
        """Return how things stand after the last look."""
        trouble = self._peers.certificate.trouble
        return replace(self._memo.standing, certificate_trouble=trouble)

    async def looked(self) -> None:
        """Wait until the loop has looked again since the last call."""
        await self._looked.wait()
        self._looked.clear()

    async def holding_changed(self) -> None:
        """Wait until a pool has begun or ceased to hold requests since the last call."""
        await self._holding_changed.wait()
        self._holding_changed.clear()

    def look_again(self) -> None:
        """Look at the edge at once: something there is worth it."""
        self._wake.set()

    async def bring_up(self, *, config_changed: bool) -> None:
        """Adopt the program that serves, or start one.

        Raises:
            UsageError: the port is taken, or the program cannot run here.
            TransientError: it did not come up.
        """
        program = self._peers.program
        program.on_end(self._wake.set)
        adopted = await program.adopt()
        if adopted is None:
            pid = await program.start()
            _log.info("haproxy_started", pid=pid)
        elif config_changed:
            await self._reload((ReloadReason.CONFIG_CHANGED,))
        else:
            _log.info("haproxy_adopted", pid=adopted)

    async def run(self) -> Never:
        """Follow the bus and reconcile, until cancelled; the program goes on."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.follow())
            tasks.create_task(self._peers.certificate.watch(every_s=self._pace.resync_s))
            tasks.create_task(self._reconcile_for_ever())
        raise AssertionError("the loops end only by cancellation")

    async def follow(self) -> Never:
        """Keep what the bus says up to date, and decide nothing; ends only by cancellation."""
        async with asyncio.TaskGroup() as tasks:
            for bucket in (REPLICAS_BUCKET, MODELS_BUCKET, TENANTS_BUCKET, TARGETS_BUCKET):
                tasks.create_task(self._views.follow(bucket))
        raise AssertionError("the views end only by cancellation")

    def known(self) -> Known:
        """Return what the bus says at this moment."""
        return self._views.known(self._clock.now())

    async def reconcile(self) -> bool:
        """Look once and do what is to be done; True if anything changed.

        Raises:
            TransientError: the edge did not answer or did not start.
        """
        self._peers.memory.restore()
        await self._ensure_program()
        started_at = self._clock.now()
        known = self._views.known(started_at)
        view = await self._peers.edge.observe()
        desired = desire(known, view.observed, grace_s=self._pace.grace_s)
        steps = plan(
            desired,
            view.observed,
            leaving_since=self._memo.leaving_since,
            now=started_at,
            drain_timeout_s=self._pace.drain_timeout_s,
        )
        self._memo.leaving_since = steps.leaving_since
        results = await self._peers.edge.apply_all(steps.actions)
        outcomes = list(zip(steps.actions, results, strict=True))
        self._note_drift(view, desired, steps, outcomes)
        change = self._settle(desired, tuple(outcomes), started_at)
        if steps.reload:
            await self._reload(steps.reload)
        self._notice_holds(view)
        self._memo.standing = Standing(
            known=known,
            view=view,
            counters=self._peers.memory.counters(),
            unplaced=tuple(unplaced.model for unplaced in steps.unplaced),
        )
        return change or bool(steps.reload)

    def _note_drift(
        self,
        view: EdgeView,
        desired: Desired,
        steps: RoutingPlan,
        outcomes: list[tuple[Action, Outcome]],
    ) -> None:
        """Tell what was not as it had been left, and remember how it is left this time."""
        found = drift(self._memo.left, view.observed, desired=desired, actions=steps.actions)
        self._peers.recorder.drifted(found)
        done = ((action, isinstance(outcome, Done)) for action, outcome in outcomes)
        self._memo.left = leave(desired, done, leaving=steps.leaving_since.keys())

    def _notice_holds(self, view: EdgeView) -> None:
        before = self._memo.standing.view
        if _holding(view) != (_holding(before) if before else frozenset()):
            self._holding_changed.set()

    async def _reconcile_for_ever(self) -> Never:
        while True:
            self._wake.clear()
            try:
                if await self.reconcile():
                    self._wake.set()
                self._memo.unanswered = 0
            except (TransientError, UsageError) as error:
                await self._stumble(error)
            self._looked.set()
            await self._pause()

    async def _pause(self) -> None:
        leaving = bool(self._memo.leaving_since)
        limit_s = self._pace.drain_poll_s if leaving else self._pace.resync_s
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await self._wake.wait()

    async def _stumble(self, error: TransientError | UsageError) -> None:
        """Say it once, and end a program that has stopped answering."""
        if str(error) != self._memo.standing.trouble:
            _log.error("reconcile_failed", error=str(error))
        self._memo.standing = replace(self._memo.standing, trouble=str(error))
        self._memo.left = None  # what was done before it failed is not known
        self._memo.unanswered += isinstance(error, PeerUnreachableError)
        if self._memo.unanswered >= UNANSWERED_MAX:
            _log.error("haproxy_unresponsive", pid=self._peers.program.running())
            self._memo.unanswered = 0
            await self._peers.program.stop(timeout_s=0)

    async def _ensure_program(self) -> None:
        if self._peers.program.running() is None:
            _log.error("haproxy_ended")
            pid = await self._peers.program.start()
            _log.info("haproxy_started", pid=pid)

    def _settle(
        self, desired: Desired, outcomes: tuple[tuple[Action, Outcome], ...], started_at: float
    ) -> bool:
        """Write the state down, then tell about the change if there was one."""
        counters = self._peers.memory.counters()
        changed = any(isinstance(outcome, Done) for _, outcome in outcomes)
        ended_at = self._clock.now()
        if changed:
            counters = replace(counters, revision=counters.revision + 1, applied_at=ended_at)
        self._peers.memory.save(
            SavedRouting(
                servers=desired.servers,
                routes=desired.routes,
                listing=desired.listing,
                access=desired.access,
                blocked=desired.blocked,
            ),
            counters,
        )
        self._complain(tuple(o.reason for _, o in outcomes if isinstance(o, Refused)), desired)
        if changed:
            self._peers.recorder.record(
                Change(
                    revision=counters.revision,
                    started_at=started_at,
                    ended_at=ended_at,
                    outcomes=outcomes,
                ),
                self._views.lease_headers(),
            )
        return changed

    def _complain(self, refusals: tuple[str, ...], desired: Desired) -> None:
        """Warn about what could not be done, once for as long as it stays the same."""
        models = (unplaced.model for unplaced in desired.unplaced)
        trouble = (*refusals, *desired.conflicts, *models)
        if trouble and trouble != self._memo.refused:
            _log.warning(
                "routing_incomplete",
                refused=refusals,
                conflicts=desired.conflicts,
                unplaced=tuple(unplaced.model for unplaced in desired.unplaced),
            )
        self._memo.refused = trouble

    async def _reload(self, reasons: tuple[ReloadReason, ...]) -> None:
        """Replace the program by one that starts from the state on disk."""
        started_at = self._clock.now()
        memory = self._peers.memory
        counters = memory.counters()
        if ReloadReason.POOLS_EXHAUSTED in reasons:
            pools = min(2 * counters.pools_per_kind, POOLS_PER_KIND_MAX)
            counters = replace(counters, pools_per_kind=pools)
        memory.save_counters(
            replace(counters, reloads=counters.reloads + 1, revision=counters.revision + 1)
        )
        await self._peers.program.start(replace=self._peers.program.running())
        change = Change(
            revision=memory.counters().revision,
            started_at=started_at,
            ended_at=self._clock.now(),
            reload=reasons,
        )
        self._peers.recorder.record(change, {})


def _holding(view: EdgeView) -> frozenset[PoolName]:
    return frozenset(demand.pool for demand in view.demand if demand.held)
