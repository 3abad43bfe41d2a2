"""Facts: immutable events in the past tense, stored in the stream `FACTS`.

Every fact has an id, a time and a source. Trace context travels in NATS headers, not in the body.
`fact.<kind>.<model>` is its subject, where kind is the schema without `fact.` and version.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from libs.contracts.checks import line, require_count, require_time
from libs.contracts.ids import (
    EdgeId,
    EventId,
    Incarnation,
    ModelName,
    ReplicaId,
    edge_id,
    event_id,
    incarnation,
    model_name,
    replica_id,
)
from libs.contracts.targets import ScaleReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """What every fact carries: its id, Unix time in seconds, and the service that saw it."""

    event_id: EventId
    occurred_at: float
    source: str

    def __post_init__(self) -> None:
        """Refuse an invalid id or time, and make a single line of the source."""
        event_id(self.event_id)
        require_time("occurred_at", self.occurred_at)
        object.__setattr__(self, "source", line(self.source))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaJoined:
    """A replica became ready."""

    stamp: Stamp
    model: ModelName
    replica_id: ReplicaId
    incarnation: Incarnation
    address: str
    start_duration_s: float
    schema: Literal["fact.replica_joined.v1"] = "fact.replica_joined.v1"

    def __post_init__(self) -> None:
        """Refuse invalid names and numbers."""
        _require_replica(self.model, self.replica_id, self.incarnation)
        require_time("start_duration_s", self.start_duration_s)
        object.__setattr__(self, "address", line(self.address))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaLeft:
    """A replica drained and stopped on request; `unfinished` requests were cut at the deadline."""

    stamp: Stamp
    model: ModelName
    replica_id: ReplicaId
    incarnation: Incarnation
    drain_duration_s: float
    unfinished: int
    schema: Literal["fact.replica_left.v1"] = "fact.replica_left.v1"

    def __post_init__(self) -> None:
        """Refuse invalid names and numbers."""
        _require_replica(self.model, self.replica_id, self.incarnation)
        require_time("drain_duration_s", self.drain_duration_s)
        require_count("unfinished", self.unfinished)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaFailed:
    """A replica ended without being asked to."""

    stamp: Stamp
    model: ModelName
    replica_id: ReplicaId
    incarnation: Incarnation
    cause: str
    schema: Literal["fact.replica_failed.v1"] = "fact.replica_failed.v1"

    def __post_init__(self) -> None:
        """Refuse invalid names, and make a single line of the cause."""
        _require_replica(self.model, self.replica_id, self.incarnation)
        object.__setattr__(self, "cause", line(self.cause))


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingApplied:
    """An edge changed its HAProxy: how many commands, how long, and whether it had to reload."""

    stamp: Stamp
    edge_id: EdgeId
    revision: int
    commands: int
    duration_s: float
    servers_added: tuple[str, ...]
    servers_removed: tuple[str, ...]
    reload_reasons: tuple[str, ...] = ()
    schema: Literal["fact.routing_applied.v1"] = "fact.routing_applied.v1"

    def __post_init__(self) -> None:
        """Refuse an invalid id or number."""
        edge_id(self.edge_id)
        require_count("revision", self.revision)
        require_count("commands", self.commands)
        require_time("duration_s", self.duration_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleDecided:
    """The autoscaler set a model's target; `observed` is None where it could not be seen."""

    stamp: Stamp
    model: ModelName
    target: int
    previous: int | None
    observed: int | None
    reason: ScaleReason
    schema: Literal["fact.scale_decided.v1"] = "fact.scale_decided.v1"

    def __post_init__(self) -> None:
        """Refuse an invalid name or number."""
        model_name(self.model)
        require_count("target", self.target)
        require_count("previous", self.previous)
        require_count("observed", self.observed)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleDone:
    """A model has as many ready replicas as its target says."""

    stamp: Stamp
    model: ModelName
    target: int
    duration_s: float
    schema: Literal["fact.scale_done.v1"] = "fact.scale_done.v1"

    def __post_init__(self) -> None:
        """Refuse an invalid name or number."""
        model_name(self.model)
        require_count("target", self.target)
        require_time("duration_s", self.duration_s)


Fact = ReplicaJoined | ReplicaLeft | ReplicaFailed | RoutingApplied | ScaleDecided | ScaleDone


def fact_kind(fact: Fact) -> str:
    """Return the middle of a fact's schema, such as `replica_joined`."""
    return fact.schema.split(".")[1]


def fact_model(fact: Fact) -> ModelName | None:
    """Return the model that a fact is about; None for facts about a whole edge."""
    return None if isinstance(fact, RoutingApplied) else fact.model


def _require_replica(model: str, replica: str, start: str) -> None:
    model_name(model)
    replica_id(replica)
    incarnation(start)
