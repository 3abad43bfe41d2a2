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
from libs.errors import PeerGoneError, TransientError, UsageError
from libs.telemetry.logging import get_logger
from services.router_config.certificate import CertificateWatch
from services.router_config.domain.desire import desire
from services.router_config.domain.drift import Left, drift, leave
from services.router_config.domain.model import Desired, Known, PoolName, ReloadReason, ServerKey
from services.router_config.domain.plan import Action, Join, RoutingPlan, plan
from services.router_config.domain.reload import Attempts, Build, pools_after, reload_reasons
from services.router_config.ports import (
    Counters,
    Done,
    Edge,
    EdgeView,
    Memory,
    Outcome,
    Pending,
    Program,
    ProgramSilentError,
    Refused,
    SavedRouting,
)
from services.router_config.recorder import Change, Recorder
from services.router_config.views import BusViews

LOST_LOOKS_MAX: Final = 5
"""A program whose admin socket is gone at this many looks in a row is replaced."""

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often and how patient, all in seconds.

    Attributes:
        resync_s: how often the edge is looked at when nothing wakes the loop.
        drain_poll_s: the same while a server is leaving, or must not join yet.
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
        reload_trouble: why a program that must be replaced still serves; empty when none must.
        files_trouble: which files of the state cannot be written; empty when all are written.
        certificate_trouble: why the certificate file is not what is served; empty when it is.
    """

    known: Known
    view: EdgeView | None = None
    counters: Counters
    unplaced: tuple[str, ...] = ()
    trouble: str = ""
    reload_trouble: str = ""
    files_trouble: str = ""
    certificate_trouble: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peers:
    """What the loop acts on and tells."""

    edge: Edge
    program: Program
    memory: Memory
    recorder: Recorder
    certificate: CertificateWatch


@dataclass(frozen=True, slots=True, kw_only=True)
class _Began:
    """When something began: Unix time, and the monotonic time that tells how long it takes."""

    at: float
    mark: float

    def ended_at(self, now: float) -> float:
        """Return the Unix time of its end, from a monotonic time; never before its beginning."""
        return self.at + now - self.mark


@dataclass(slots=True, kw_only=True)
class _Memo:
    """What the loop carries from one round to the next."""

    leaving_since: Mapping[ServerKey, float] = field(default_factory=dict)
    refused: tuple[str, ...] = ()
    lost_looks: int = 0
    reloads: Attempts = field(default_factory=Attempts)
    reload_trouble: str = ""
    has_waiting: bool = False
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
        return replace(
            self._memo.standing,
            reload_trouble=self._memo.reload_trouble,
            files_trouble=self._peers.memory.trouble,
            certificate_trouble=self._peers.certificate.trouble,
        )

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

    async def bring_up(self) -> None:
        """Adopt the program that serves, or start one; one that serves is never ended.

        Raises:
            UsageError: the port is taken, or the program cannot run here.
            TransientError: none serves, and none came up.
        """
        program = self._peers.program
        program.on_end(self._wake.set)
        try:
            await self._adopt_or_start()
        except TransientError as error:
            if program.running() is None and not isinstance(error, ProgramSilentError):
                raise
            _log.warning("haproxy_does_not_answer", pid=program.running(), error=str(error))

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
        return self._views.known(self._clock.monotonic())

    async def reconcile(self) -> bool:
        """Look once and do what is to be done; True if anything changed.

        Raises:
            TransientError: the edge did not answer or did not start.
        """
        self._peers.memory.restore()
        await self._ensure_program()
        began = self._begin()
        known = self.known()
        view = await self._look()
        desired = desire(known, view.observed, grace_s=self._pace.grace_s)
        steps = plan(
            desired,
            view.observed,
            leaving_since=self._memo.leaving_since,
            now=self._clock.monotonic(),
            drain_timeout_s=self._pace.drain_timeout_s,
        )
        self._memo.leaving_since = steps.leaving_since
        results = await self._peers.edge.apply_all(steps.actions)
        outcomes = list(zip(steps.actions, results, strict=True))
        self._note_drift(view, desired, steps, outcomes)
        change = self._settle(desired, tuple(outcomes), began)
        reloaded = await self._reload_where_needed(view, steps.reload)
        self._notice_holds(view)
        self._memo.standing = Standing(
            known=known,
            view=view,
            counters=self._peers.memory.counters(),
            unplaced=tuple(unplaced.model for unplaced in steps.unplaced),
        )
        return change or reloaded

    def _begin(self) -> _Began:
        return _Began(at=self._clock.now(), mark=self._clock.monotonic())

    async def _look(self) -> EdgeView:
        """Observe the edge; where another program than the watched one answers, watch that one."""
        view = await self._peers.edge.observe()
        if view.pid != self._peers.program.running():
            await self._peers.program.adopt()
        return view

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
                self._memo.lost_looks = 0
            except (TransientError, UsageError) as error:
                await self._stumble(error)
            self._looked.set()
            await self._pause()

    async def _pause(self) -> None:
        is_soon = bool(self._memo.leaving_since) or self._memo.has_waiting
        limit_s = self._pace.drain_poll_s if is_soon else self._pace.resync_s
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await self._wake.wait()

    async def _stumble(self, error: TransientError | UsageError) -> None:
        """Say it once; replace a program that cannot be reached any more.

        One that only does not answer may serve, and is better unmanaged than dead.
        """
        if str(error) != self._memo.standing.trouble:
            _log.error("reconcile_failed", error=str(error))
        self._memo.standing = replace(self._memo.standing, trouble=str(error))
        self._memo.left = None  # what was done before it failed is not known
        is_lost = isinstance(error, PeerGoneError)
        self._memo.lost_looks = self._memo.lost_looks + 1 if is_lost else 0
        if self._memo.lost_looks >= LOST_LOOKS_MAX:
            self._memo.lost_looks = 0
            await self._replace_unreachable()

    async def _replace_unreachable(self) -> None:
        """Start a program beside one without an admin socket, which finishes its streams."""
        program = self._peers.program
        _log.error("haproxy_unreachable", pid=program.running())
        try:
            pid = await program.start(replace=program.running())
        except (TransientError, UsageError) as error:
            _log.error("haproxy_not_replaced", error=str(error))
        else:
            _log.info("haproxy_started", pid=pid)

    async def _ensure_program(self) -> None:
        if self._peers.program.running() is None:
            _log.error("haproxy_ended")
            await self._adopt_or_start()

    async def _adopt_or_start(self) -> None:
        adopted = await self._peers.program.adopt()
        if adopted is None:
            pid = await self._peers.program.start()
            _log.info("haproxy_started", pid=pid)
        else:
            _log.info("haproxy_adopted", pid=adopted)

    def _settle(
        self, desired: Desired, outcomes: tuple[tuple[Action, Outcome], ...], began: _Began
    ) -> bool:
        """Write the state down, then tell about the change if there was one."""
        counters = self._peers.memory.counters()
        changed = any(isinstance(outcome, Done) for _, outcome in outcomes)
        ended_at = began.ended_at(self._clock.monotonic())
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
        waiting = [o.reason for a, o in outcomes if isinstance(a, Join) and isinstance(o, Pending)]
        self._memo.has_waiting = bool(waiting)
        refused = [o.reason for _, o in outcomes if isinstance(o, Refused)]
        self._complain(tuple(dict.fromkeys((*refused, *waiting))), desired)
        if changed:
            self._peers.recorder.record(
                Change(
                    revision=counters.revision,
                    started_at=began.at,
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

    async def _reload_where_needed(self, view: EdgeView, planned: tuple[ReloadReason, ...]) -> bool:
        """Replace the program where it must be; what fails is tried again, more and more rarely."""
        memo = self._memo
        running = Build(config=view.config, pools_per_kind=view.observed.pools_per_kind)
        on_disk = self._peers.memory.build()
        reasons = reload_reasons(planned, running=running, on_disk=on_disk)
        if not reasons or on_disk is None:
            memo.reloads, memo.reload_trouble = Attempts(), ""
            return False
        now = self._clock.monotonic()
        if now < memo.reloads.next_at:
            return False
        memo.reloads = memo.reloads.with_another(now=now)
        try:
            await self._reload(reasons, pools_after(reasons, running=running, on_disk=on_disk))
        except TransientError as error:
            memo.reload_trouble = str(error)
            _log.error("reload_failed", reasons=reasons, error=str(error))
            return False
        memo.reload_trouble = ""
        return True

    async def _reload(self, reasons: tuple[ReloadReason, ...], pools_per_kind: int) -> None:
        """Replace the program by one that starts from the state on disk.

        Raises:
            TransientError: it did not come up; the one before serves on.
        """
        began = self._begin()
        memory, program = self._peers.memory, self._peers.program
        memory.save_counters(replace(memory.counters(), pools_per_kind=pools_per_kind))
        await program.start(replace=program.running())
        counters = memory.counters()
        memory.save_counters(
            replace(counters, reloads=counters.reloads + 1, revision=counters.revision + 1)
        )
        change = Change(
            revision=memory.counters().revision,
            started_at=began.at,
            ended_at=began.ended_at(self._clock.monotonic()),
            reload=reasons,
        )
        self._peers.recorder.record(change, {})


def _holding(view: EdgeView) -> frozenset[PoolName]:
    return frozenset(demand.pool for demand in view.demand if demand.held)
