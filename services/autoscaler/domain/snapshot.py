"""What the autoscaler reads from the bus, as one consistent value: the input of every decision.

A bus that was emptied looks like a person who took every model back. So an empty set of models
counts as unknown, unless models were seen to go, one by one, on the same connection.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from libs.contracts.ids import ModelName
from libs.contracts.lease import ReplicaLease, ReplicaState
from libs.contracts.model_spec import ModelSpec
from libs.contracts.targets import DecidedTarget, ManualTarget


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """The models as declared.

    Attributes:
        models: by name.
        unreadable: names whose declaration cannot be decoded.
        live_since: Unix time in seconds since when this is known without a gap; None while the
            bus is away.
    """

    models: Mapping[ModelName, ModelSpec]
    unreadable: frozenset[str]
    live_since: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """The targets as set by people and as last decided; `live_since` as in `Declared`."""

    manual: Mapping[ModelName, ManualTarget]
    decided: Mapping[ModelName, DecidedTarget]
    live_since: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Since when, on the present connection, there has been a model; None if there was none."""

    models_seen_since: float | None = None


def remember(memory: Memory, declared: Declared) -> Memory:
    """Return the memory after a look at what is declared."""
    if declared.live_since is None:
        return memory
    if declared.models or declared.unreadable:
        return Memory(models_seen_since=declared.live_since)
    return memory


def hold_reason(memory: Memory, declared: Declared, targets: Targets) -> str | None:
    """Return why nothing may be changed now; None when everything is known."""
    if declared.live_since is None or targets.live_since is None:
        return "bus_away"
    empty = not declared.models and not declared.unreadable
    if empty and memory.models_seen_since != declared.live_since:
        return "models_unknown"
    return None


def ready_counts(leases: Iterable[ReplicaLease]) -> dict[ModelName, int]:
    """Count the replicas of each model that are ready."""
    return dict(Counter(lease.model for lease in leases if lease.state is ReplicaState.READY))
