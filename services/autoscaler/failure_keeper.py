"""Keeps what is known of models that do not come, and tells the bus of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from libs.bus.ports import StateStore
from libs.clock import Clock
from libs.contracts.failing import AutoscalerTrouble, one_line
from libs.contracts.ids import ModelName
from libs.contracts.lease import ReplicaLease, ReplicaState
from libs.contracts.subjects import TARGETS_BUCKET, TROUBLE_KEY, failing_key
from services.autoscaler.domain.applications import (
    DELETING,
    DEPLOY_FAILED,
    Application,
    ObservedApplication,
    starts_alike,
)
from services.autoscaler.domain.failures import (
    Failures,
    Known,
    Sight,
    adopt,
    begun,
    due,
    look,
    record,
    until_next_s,
)
from services.autoscaler.domain.moment import Now
from services.autoscaler.views import Views


class FailureKeeper:
    """The failures of all models, from one round to the next."""

    def __init__(self, store: StateStore, clock: Clock) -> None:
        """Start with nothing known: the first look takes over what the bus knows."""
        self._store = store
        self._clock = clock
        self._known: Known | None = None
        self._trouble: AutoscalerTrouble | None = None

    def stand_by(self) -> None:
        """Forget everything: another process leads, and tells the bus what it knows."""
        self._known = None
        self._trouble = None

    def look(
        self,
        views: Views,
        desired: Iterable[Application],
        observed: Iterable[ObservedApplication],
    ) -> None:
        """Take in how every model stands."""
        now = self._now()
        before = self._known
        if before is None:
            before = Known(failures=adopt(views.failing().values(), now))
        present = {app.name: app for app in observed}
        leases = views.leases()
        sights = {app.name: _sight(app, present.get(app.name), leases) for app in desired}
        self._known = look(before, sights, now)

    def due(self) -> frozenset[ModelName]:
        """Return the models that are to be tried again now."""
        return due(self._failures(), self._now())

    def begun(self, models: frozenset[ModelName]) -> None:
        """Note that Serve tries these again."""
        if self._known is not None:
            failures = begun(self._known.failures, models)
            self._known = replace(self._known, failures=failures)

    def until_next_s(self) -> float | None:
        """Return the seconds until a model is due; None when none is."""
        return until_next_s(self._failures(), self._now())

    async def tell(self, views: Views) -> None:
        """Bring the bus to what is known; writes nothing that is there already.

        Raises:
            PeerUnreachableError: the bus is away.
        """
        said = views.failing()
        wanted = {model: record(model, failure) for model, failure in self._failures().items()}
        for model, failing in wanted.items():
            if said.get(model) != failing:
                await self._store.put(TARGETS_BUCKET, failing_key(model), failing)
        for model in said.keys() - wanted.keys():
            await self._store.delete(TARGETS_BUCKET, failing_key(model))

    async def tell_trouble(self, views: Views, cause: str) -> None:
        """Say on the bus why nothing can be done; with an empty cause, that something can be.

        Raises:
            PeerUnreachableError: the bus is away.
        """
        said = views.trouble()
        if not cause:
            self._trouble = None
            if said is not None:
                await self._store.delete(TARGETS_BUCKET, TROUBLE_KEY)
            return
        line = one_line(cause, otherwise="unknown")
        since = self._trouble.since if self._trouble else self._clock.now()
        self._trouble = AutoscalerTrouble(cause=line, since=since)
        if said != self._trouble:
            await self._store.put(TARGETS_BUCKET, TROUBLE_KEY, self._trouble)

    def _failures(self) -> Failures:
        return self._known.failures if self._known else {}

    def _now(self) -> Now:
        return Now(unix=self._clock.now(), monotonic=self._clock.monotonic())


def tried_again(
    desired: Iterable[Application], models: frozenset[ModelName]
) -> Sequence[Application]:
    """Return the applications with a further attempt of these models."""
    return [replace(app, attempt=app.attempt + (app.name in models)) for app in desired]


def _sight(
    app: Application,
    found: ObservedApplication | None,
    leases: Mapping[ModelName, Sequence[ReplicaLease]],
) -> Sight:
    mine = leases.get(app.name, ())
    there = found is not None and found.status != DELETING
    return Sight(
        target=app.target,
        is_current=found is not None and there and starts_alike(app, found),
        gave_up=found is not None and found.status == DEPLOY_FAILED,
        said=found.trouble if found else "",
        ready=frozenset(_start(each) for each in mine if each.state is ReplicaState.READY),
        failed={
            _start(each): each.reason
            for each in mine
            if each.state is ReplicaState.FAILED and each.ready_at is None
        },
    )


def _start(lease: ReplicaLease) -> str:
    return f"{lease.replica_id}.{lease.incarnation}"
