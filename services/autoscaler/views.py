"""What the autoscaler follows on the bus, handed out in the domain's words."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from libs.bus.ports import BucketView, Headers, StateStore
from libs.bus.waiting import any_changed
from libs.contracts.failing import AutoscalerTrouble, FailingModel
from libs.contracts.ids import ModelName
from libs.contracts.lease import ReplicaLease
from libs.contracts.model_spec import ModelSpec
from libs.contracts.subjects import (
    MODELS_BUCKET,
    REPLICAS_BUCKET,
    TARGETS_BUCKET,
    TROUBLE_KEY,
    manual_target_key,
)
from libs.contracts.targets import DecidedTarget, ManualTarget
from services.autoscaler.domain.snapshot import Declared, Targets, ready_counts


class Views:
    """The three buckets that decisions depend on."""

    def __init__(self, models: BucketView, targets: BucketView, replicas: BucketView) -> None:
        """Use views that somebody else opens and closes."""
        self._models = models
        self._targets = targets
        self._replicas = replicas

    def declared(self) -> Declared:
        """Return the models as declared."""
        snapshot = self._models.snapshot()
        specs = [e.value for e in snapshot.entries.values() if isinstance(e.value, ModelSpec)]
        return Declared(
            models={spec.name: spec for spec in specs},
            unreadable=frozenset(snapshot.rejected),
            live_since=snapshot.connected_since,
        )

    def targets(self) -> Targets:
        """Return what people set and what was last decided."""
        snapshot = self._targets.snapshot()
        values = [entry.value for entry in snapshot.entries.values()]
        return Targets(
            manual={v.model: v for v in values if isinstance(v, ManualTarget)},
            decided={v.model: v for v in values if isinstance(v, DecidedTarget)},
            live_since=snapshot.connected_since,
        )

    def ready(self) -> Mapping[ModelName, int] | None:
        """Count ready replicas by model; None while the bus is away."""
        snapshot = self._replicas.snapshot()
        if snapshot.connected_since is None:
            return None
        return ready_counts(
            entry.value
            for entry in snapshot.entries.values()
            if isinstance(entry.value, ReplicaLease)
        )

    def leases(self) -> Mapping[ModelName, Sequence[ReplicaLease]]:
        """Return the replicas' leases by model, as last known."""
        found: dict[ModelName, list[ReplicaLease]] = {}
        for entry in self._replicas.snapshot().entries.values():
            if isinstance(entry.value, ReplicaLease):
                found.setdefault(entry.value.model, []).append(entry.value)
        return found

    def failing(self) -> Mapping[ModelName, FailingModel]:
        """Return what the bus knows of models that do not come."""
        values = [entry.value for entry in self._targets.snapshot().entries.values()]
        return {value.model: value for value in values if isinstance(value, FailingModel)}

    def trouble(self) -> AutoscalerTrouble | None:
        """Return what the bus knows of why nothing can be done."""
        entry = self._targets.snapshot().entries.get(TROUBLE_KEY)
        value = entry.value if entry else None
        return value if isinstance(value, AutoscalerTrouble) else None

    def cause(self, model: ModelName) -> Headers:
        """Return the trace context of whoever wrote what decides a model's target."""
        manual = self._targets.snapshot().entries.get(manual_target_key(model))
        entry = manual or self._models.snapshot().entries.get(model)
        return entry.headers if entry else {}

    async def changed(self, *, timeout_s: float) -> bool:
        """Wait until one of them changed; False at the time limit."""
        return await any_changed((self._models, self._targets, self._replicas), timeout_s=timeout_s)


@asynccontextmanager
async def open_views(store: StateStore) -> AsyncIterator[Views]:
    """Follow the three buckets while the body runs.

    Raises:
        PeerUnreachableError: the bus did not answer in time.
    """
    async with AsyncExitStack() as stack:
        models, targets, replicas = [
            await stack.enter_async_context(store.view(bucket))
            for bucket in (MODELS_BUCKET, TARGETS_BUCKET, REPLICAS_BUCKET)
        ]
        yield Views(models, targets, replicas)
