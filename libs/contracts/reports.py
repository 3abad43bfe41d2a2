"""Reports: what replicas and edges say on core subjects, never stored.

None means unknown. A report that is older than its reader's limit counts as unknown too, and so
does an impossible number: a negative or infinite one, or NaN.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from libs.contracts.checks import (
    line,
    plausible_count,
    plausible_rate,
    plausible_ratio,
    require_count,
    require_time,
)
from libs.contracts.ids import EdgeId, ModelName, ReplicaId, edge_id, model_name, replica_id


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadReport:
    """A replica's load.

    Attributes:
        running: sequences in the engine's batch (`vllm:num_requests_running`).
        waiting: sequences in the engine's queue (`vllm:num_requests_waiting`).
        kv_cache_usage_ratio: 0 to 1 (`vllm:kv_cache_usage_perc`).
        ttft_p50_s: median time to first token over the report's window; None without requests.
        tokens_per_s: generated tokens a second over the report's window.
        observed_at: Unix time in seconds of the sample.
        prefix_cache_hit_ratio: prompt tokens found in the prefix cache over those looked up, 0 to
            1, over the report's window; None without requests.
        lost_reports_count: what the engine could not report since it started, because its hooks
            failed or the replica fell behind; other fields may be too low when it grows.
    """

    model: ModelName
    replica_id: ReplicaId
    running: int | None
    waiting: int | None
    kv_cache_usage_ratio: float | None
    ttft_p50_s: float | None
    tokens_per_s: float | None
    observed_at: float
    prefix_cache_hit_ratio: float | None = None
    lost_reports_count: int | None = None
    schema: Literal["load.report.v1"] = "load.report.v1"

    def __post_init__(self) -> None:
        """Refuse invalid names; impossible numbers become unknown."""
        model_name(self.model)
        replica_id(self.replica_id)
        require_time("observed_at", self.observed_at)
        for name in ("running", "waiting", "lost_reports_count"):
            object.__setattr__(self, name, plausible_count(getattr(self, name)))
        for name in ("ttft_p50_s", "tokens_per_s"):
            object.__setattr__(self, name, plausible_rate(getattr(self, name)))
        for name in ("kv_cache_usage_ratio", "prefix_cache_hit_ratio"):
            object.__setattr__(self, name, plausible_ratio(getattr(self, name)))


@dataclass(frozen=True, slots=True, kw_only=True)
class DemandReport:
    """What waits or was turned away in front of a model at one edge.

    Attributes:
        queued: requests in HAProxy's queues now.
        held: requests held while the model has no replica now.
        refused_count: requests refused with 503 since HAProxy started.
        observed_at: Unix time in seconds of the sample.
    """

    model: ModelName
    edge_id: EdgeId
    queued: int | None
    held: int | None
    refused_count: int | None
    observed_at: float
    schema: Literal["demand.report.v1"] = "demand.report.v1"

    def __post_init__(self) -> None:
        """Refuse invalid names; impossible numbers become unknown."""
        model_name(self.model)
        edge_id(self.edge_id)
        require_time("observed_at", self.observed_at)
        for name in ("queued", "held", "refused_count"):
            object.__setattr__(self, name, plausible_count(getattr(self, name)))


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingStatus:
    """What an edge has applied, kept in the `routing` bucket for `sluice status`.

    Attributes:
        revision: counts changes applied to HAProxy since the state directory was made.
        applied_at: Unix time in seconds of the last applied change; None before the first.
        haproxy_pid: None while HAProxy is down.
        reloads: reloads since the state directory was made.
        unplaced: servers that found no pool; empty in a healthy system.
        degraded: why the edge serves from its last known state; empty when it does not.
    """

    edge_id: EdgeId
    revision: int
    applied_at: float | None
    haproxy_version: str
    haproxy_pid: int | None
    reloads: int
    servers_ready: int
    unplaced: tuple[str, ...] = ()
    degraded: str = ""
    observed_at: float = 0.0
    schema: Literal["routing.status.v1"] = "routing.status.v1"

    def __post_init__(self) -> None:
        """Refuse an invalid id, and make single lines of free text."""
        edge_id(self.edge_id)
        require_count("revision", self.revision)
        require_time("applied_at", self.applied_at)
        require_time("observed_at", self.observed_at)
        object.__setattr__(self, "haproxy_version", line(self.haproxy_version))
        object.__setattr__(self, "degraded", line(self.degraded))
        object.__setattr__(self, "unplaced", tuple(line(each) for each in self.unplaced))
