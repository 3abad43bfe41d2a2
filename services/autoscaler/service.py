"""The loop: read everything, decide, act on Ray Serve, record; then wait for a change.

Every round starts from the whole present state, so a lost, repeated or reordered event changes
nothing. Rounds are idempotent: the same state twice gives no action the second time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, assert_never

from opentelemetry import trace
from opentelemetry.trace import SpanKind

from libs.bus.leadership import Leadership
from libs.bus.ports import StateStore
from libs.bus.waiting import any_changed
from libs.clock import Clock, sleep
from libs.contracts.ids import ModelName
from libs.contracts.targets import DecidedTarget
from libs.errors import ControlPlaneError, PeerUnreachableError, TransientError
from libs.telemetry.context import extract
from libs.telemetry.logging import get_logger
from services.autoscaler.domain.applications import (
    DEPLOY_FAILED,
    Action,
    Application,
    DeployApplications,
    ObservedApplication,
    ScaleApplication,
    plan,
    serving_part,
)
from services.autoscaler.domain.decide import Decision, ScalingState, Signals, decide, is_news
from services.autoscaler.domain.moment import Now
from services.autoscaler.domain.presence import Presence, is_certain, notice
from services.autoscaler.domain.progress import NOTHING_SEEN, advance
from services.autoscaler.domain.snapshot import Declared, Memory, Targets, hold_reason, remember
from services.autoscaler.failure_keeper import FailureKeeper, tried_again
from services.autoscaler.listener import DemandListener
from services.autoscaler.ports import Applications
from services.autoscaler.recorder import Recorder
from services.autoscaler.views import Views, open_views

SETTLE_S: Final = 0.05
"""Changes that come this close together are one round."""

HELD_RETRY_S: Final = 0.5
"""A held round is tried again this soon: no view tells when Ray or the leadership comes."""

STUMBLE_RETRY_MAX_S: Final = 10.0
"""What fails in a row is tried again after twice as long each time, up to this."""

BUS_RETRY_S: Final = 1.0
FAILED_STATUSES: Final = (DEPLOY_FAILED, "UNHEALTHY")

_log = get_logger(__name__)
_tracer = trace.get_tracer("sluice.autoscaler")

Decided = dict[ModelName, DecidedTarget]


class Outcome(StrEnum):
    """How a round ended."""

    UNCHANGED = "unchanged"
    CHANGED = "changed"
    HELD = "held"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One round in one line.

    Attributes:
        reason: why nothing was done; empty when it was.
        actions: what Ray Serve was told.
        decisions: targets that are new.
    """

    outcome: Outcome
    reason: str = ""
    actions: tuple[str, ...] = ()
    decisions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Peers:
    """Whom the autoscaler works with."""

    store: StateStore
    demand: DemandListener
    applications: Applications
    recorder: Recorder
    leadership: Leadership
    clock: Clock


class Autoscaler:
    """Keeps Ray Serve's applications as models and targets say."""

    def __init__(self, peers: Peers, *, import_path: str, resync_s: float) -> None:
        """Use peers that somebody else opens and closes; `import_path` builds every application."""
        self._store = peers.store
        self._demand = peers.demand
        self._applications = peers.applications
        self._recorder = peers.recorder
        self._leadership = peers.leadership
        self._clock = peers.clock
        self._import_path = import_path
        self._resync_s = resync_s
        self._memory = Memory()
        self._written: Decided = {}
        self._progress = NOTHING_SEEN
        self._failures = FailureKeeper(peers.store, peers.clock)
        self._presence = Presence()
        self._stumbles = 0
        self._said = Report(outcome=Outcome.UNCHANGED)
        self._failed: frozenset[str] = frozenset()
        self._rounds = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Reconcile until told to stop, then let another process lead."""
        async with asyncio.TaskGroup() as tasks:
            leading = tasks.create_task(self._leadership.run())
            following = tasks.create_task(self._follow())
            listening = tasks.create_task(self._demand.follow())
            await stop.wait()
            leading.cancel()
            following.cancel()
            listening.cancel()
        await self._leadership.release()

    async def reconcile(self, views: Views) -> Report:
        """Go one round and log it in one line."""
        began = self._clock.monotonic()
        self._rounds += 1
        try:
            report = await self._round(views)
            self._stumbles = 0
        except ControlPlaneError as exc:
            held = isinstance(exc, TransientError)
            report = Report(outcome=Outcome.HELD if held else Outcome.FAILED, reason=str(exc))
            await self._stumble(views, report.reason)
        self._say(report, self._clock.monotonic() - began)
        return report

    def wait_s(self, report: Report) -> float:
        """Return how long to wait after a round when nothing changes."""
        if self._stumbles:
            doubled = HELD_RETRY_S * 2.0 ** min(self._stumbles - 1, 10)
            return min(STUMBLE_RETRY_MAX_S, doubled)
        if report.outcome is Outcome.HELD:
            return HELD_RETRY_S
        next_s = self._failures.until_next_s()
        return self._resync_s if next_s is None else min(self._resync_s, next_s)

    async def _stumble(self, views: Views, cause: str) -> None:
        """Say on the bus what is wrong, if that can be said there."""
        self._stumbles += 1
        with suppress(ControlPlaneError):
            if self._leadership.leads:
                await self._failures.tell_trouble(views, cause)

    async def _follow(self) -> None:
        complained = False
        while True:
            try:
                async with open_views(self._store) as views:
                    complained = False
                    await self._follow_views(views)
            except PeerUnreachableError as exc:
                if not complained:
                    _log.warning("bus_views_unavailable", error=str(exc))
                complained = True
                await sleep(self._clock, BUS_RETRY_S)

    async def _follow_views(self, views: Views) -> None:
        while True:
            report = await self.reconcile(views)
            await any_changed((views, self._demand), timeout_s=self.wait_s(report))
            await sleep(self._clock, SETTLE_S)

    async def _round(self, views: Views) -> Report:
        declared, targets = views.declared(), views.targets()
        self._memory = remember(self._memory, declared)
        held = hold_reason(self._memory, declared, targets)
        if held or not self._leadership.leads:
            self._written.clear()
            if not self._leadership.leads:
                self._failures.stand_by()
            return Report(outcome=Outcome.HELD, reason=held or "standby")
        decided: Decided = {**targets.decided, **self._written}
        decisions = self._decide(declared, targets, decided, views)
        observed = self._believed(await self._applications.observe(), declared)
        self._report_failures(observed)
        desired = self._desired(declared, decisions, observed)
        self._failures.look(views, desired, observed)
        await self._failures.tell(views)
        again = self._failures.due()
        actions = plan(tried_again(desired, again), observed, unreadable=declared.unreadable)
        news = {m: d for m, d in decisions.items() if is_news(d, decided.get(m))}
        if actions or news:
            await self._change(views, actions, news, decided)
        if any(isinstance(action, DeployApplications) for action in actions):
            self._failures.begun(again)
        await self._finish(views, decisions, decided)
        return _report(actions, news)

    def _decide(
        self, declared: Declared, targets: Targets, decided: Decided, views: Views
    ) -> dict[ModelName, Decision]:
        ready, now = views.ready(), self._clock.now()
        decisions = {}
        for model, spec in sorted(declared.models.items()):
            last = decided.get(model)
            signals = Signals(
                manual=targets.manual.get(model),
                ready=None if ready is None else ready.get(model, 0),
                unserved=self._demand.unserved(model),
            )
            state = ScalingState(
                target=last.replicas if last else None, reason=last.reason if last else None
            )
            decisions[model] = decide(signals, spec.scaling, state, now)
        return decisions

    def _believed(
        self, observed: tuple[ObservedApplication, ...] | None, declared: Declared
    ) -> tuple[ObservedApplication, ...]:
        """Return the applications; none of a Serve that has been missing for long enough.

        Raises:
            TransientError: Serve seems not to run, and may run all the same.
        """
        now = self._clock.monotonic()
        self._presence = notice(self._presence, runs=observed is not None, now=now)
        if not is_certain(self._presence, unreadable=declared.unreadable, now=now):
            raise TransientError("Ray Serve seems not to run; waiting whether it comes back.")
        return observed or ()

    def _desired(
        self,
        declared: Declared,
        decisions: dict[ModelName, Decision],
        observed: Sequence[ObservedApplication],
    ) -> list[Application]:
        attempts = {app.name: app.attempt for app in observed}
        return [
            Application(
                name=model,
                import_path=self._import_path,
                spec=serving_part(declared.models[model]),
                target=decision.target,
                attempt=attempts.get(model, 0),
            )
            for model, decision in decisions.items()
        ]

    async def _change(
        self,
        views: Views,
        actions: Sequence[Action],
        news: dict[ModelName, Decision],
        decided: Decided,
    ) -> None:
        cause = next((headers for model in news if (headers := views.cause(model))), {})
        ready = views.ready()
        with _tracer.start_as_current_span("reconcile", context=extract(cause)) as span:
            span.set_attribute("sluice.actions", [_text(action) for action in actions])
            for model, decision in news.items():
                seen = None if ready is None else ready.get(model, 0)
                self._written[model] = await self._recorder.decided(
                    model, decision, decided.get(model), seen
                )
            for action in actions:
                self._require_leadership()
                await self._act(action)

    def _require_leadership(self) -> None:
        """Refuse to act for a process that was stopped meanwhile: another one may lead by now.

        Raises:
            TransientError: the claim is no longer ours.
        """
        if not self._leadership.leads:
            raise TransientError("The leadership was lost within a round.")

    async def _act(self, action: Action) -> None:
        with _tracer.start_as_current_span(_span_name(action), kind=SpanKind.CLIENT):
            match action:
                case DeployApplications():
                    await self._applications.deploy(action)
                case ScaleApplication():
                    await self._applications.scale(action)
                case _:
                    assert_never(action)

    async def _finish(
        self, views: Views, decisions: dict[ModelName, Decision], decided: Decided
    ) -> None:
        gone = {model: target for model, target in decided.items() if model not in decisions}
        await self._recorder.forget(gone)
        await self._failures.tell(views)
        await self._failures.tell_trouble(views, "")
        for model in gone:
            self._written.pop(model, None)
        ready = views.ready()
        if ready is None:
            return
        current = {m: t for m, t in {**decided, **self._written}.items() if m in decisions}
        progress, reached = advance(self._progress, current, ready, now=self._now())
        for one in reached:
            await self._recorder.reached(one)
        self._progress = progress

    def _now(self) -> Now:
        return Now(unix=self._clock.now(), monotonic=self._clock.monotonic())

    def _report_failures(self, observed: Sequence[ObservedApplication]) -> None:
        failed = {app.name: app for app in observed if app.status in FAILED_STATUSES}
        for name in sorted(failed.keys() - self._failed):
            app = failed[name]
            _log.error("application_failed", model=name, status=app.status, why=app.trouble)
        self._failed = frozenset(failed)

    def _say(self, report: Report, duration_s: float) -> None:
        news = report != self._said and (report.outcome, self._said.outcome) != (
            Outcome.UNCHANGED,
            Outcome.CHANGED,
        )
        self._said = report
        match report.outcome:
            case Outcome.FAILED:
                write = _log.error if news else _log.debug
            case Outcome.HELD if report.reason != "standby":
                write = _log.warning if news else _log.debug
            case _:
                write = _log.info if news else _log.debug
        write(
            "reconcile_done",
            outcome=report.outcome,
            reason=report.reason,
            actions=report.actions,
            decisions=report.decisions,
            duration_s=round(duration_s, 6),
            generation=self._rounds,
        )


def _report(actions: Sequence[Action], news: dict[ModelName, Decision]) -> Report:
    if not actions and not news:
        return Report(outcome=Outcome.UNCHANGED)
    return Report(
        outcome=Outcome.CHANGED,
        actions=tuple(_text(action) for action in actions),
        decisions=tuple(f"{model}={d.target} ({d.reason})" for model, d in news.items()),
    )


def _text(action: Action) -> str:
    match action:
        case DeployApplications(changed=changed):
            return f"deploy {' '.join(changed)}"
        case ScaleApplication(name=name, target=target):
            return f"scale {name} to {target}"


def _span_name(action: Action) -> str:
    return "serve.deploy" if isinstance(action, DeployApplications) else "serve.scale"
