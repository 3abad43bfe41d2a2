"""Records, reports and facts with sensible values, so that a test names only what it is about."""

from __future__ import annotations

from dataclasses import replace

from libs.contracts.events import ScaleDecided, Stamp
from libs.contracts.failing import FailingModel
from libs.contracts.ids import EdgeId, EventId, Incarnation, ModelName, ReplicaId, TenantName
from libs.contracts.lease import Endpoint, ReplicaLease, ReplicaState, Versions
from libs.contracts.model_spec import Device, ModelSpec, ScalingSpec
from libs.contracts.reports import DemandReport, LoadReport
from libs.contracts.targets import ScaleReason
from libs.contracts.tenant import Tenant, key_hash


def a_lease(
    replica: str = "r1", *, model: str = "m", state: ReplicaState = ReplicaState.READY
) -> ReplicaLease:
    """Return the lease of one replica."""
    return ReplicaLease(
        replica_id=ReplicaId(replica),
        incarnation=Incarnation("0a1b2c3d"),
        model=ModelName(model),
        state=state,
        address=Endpoint(host="127.0.0.1", port=8000),
        max_num_seqs=64,
        executor="RayExecutorV2",
        device="simulated",
        pid=4242,
        versions=Versions(sluice="0", vllm="0", ray="0"),
        started_at=1.0,
        ready_at=2.0,
    )


def a_model(name: str = "m", *, replicas_min: int = 1, replicas_max: int = 4) -> ModelSpec:
    """Return a model's declaration."""
    return ModelSpec(
        name=ModelName(name),
        source="builtin:none",
        device=Device.SIMULATED,
        scaling=ScalingSpec(min=replicas_min, max=replicas_max),
    )


def a_tenant(name: str = "acme", *, key: str = "sk-acme") -> Tenant:
    """Return a tenant with one key and no limits."""
    return Tenant(name=TenantName(name), key_hashes=(key_hash(key),))


def a_failing_model(
    model: str = "m", *, error: str = "no such file", blocked: bool = True
) -> FailingModel:
    """Return what the bus says of a model that does not come."""
    return FailingModel(
        model=ModelName(model),
        error=error,
        failed_starts=3,
        failed_at=1.0,
        next_try_at=None,
        blocked=blocked,
    )


def a_load_report(replica: str = "r1", *, model: str = "m", running: int = 1) -> LoadReport:
    """Return one replica's load."""
    return LoadReport(
        model=ModelName(model),
        replica_id=ReplicaId(replica),
        running=running,
        waiting=0,
        kv_cache_usage_ratio=0.5,
        ttft_p50_s=None,
        tokens_per_s=10.0,
        observed_at=3.0,
    )


def a_demand_report(
    *, model: str = "m", held: int = 0, queued: int = 0, refused: int = 0, edge: str = "edge"
) -> DemandReport:
    """Return what one edge says about one model."""
    return DemandReport(
        model=ModelName(model),
        edge_id=EdgeId(edge),
        queued=queued,
        held=held,
        refused_count=refused,
        observed_at=3.0,
    )


def a_fact(number: int = 1, *, model: str = "m", target: int = 1) -> ScaleDecided:
    """Return a fact whose event id is made of the number."""
    return ScaleDecided(
        stamp=Stamp(event_id=EventId(f"{number:032x}"), occurred_at=4.0, source="test"),
        model=ModelName(model),
        target=target,
        previous=None,
        observed=None,
        reason=ScaleReason.MINIMUM,
    )


def with_state(lease: ReplicaLease, state: ReplicaState) -> ReplicaLease:
    """Return the lease in another state."""
    return replace(lease, state=state)
