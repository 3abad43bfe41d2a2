"""`sluice status`: assemble what the buckets, the reports and the record say (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace

from libs.contracts.failing import AutoscalerTrouble, FailingModel
from libs.contracts.ids import ModelName, ReplicaId
from libs.contracts.leader import LeaderClaim
from libs.contracts.lease import FrontEnd, ReplicaLease, ReplicaState
from libs.contracts.model_spec import AdapterSpec, ModelSpec
from libs.contracts.reports import DemandReport, LoadReport, RoutingStatus
from libs.contracts.targets import DecidedTarget, ManualTarget
from tools.cli.failures import FailureStatus, ScalingStatus, failure_status, scaling_status
from tools.cli.health import AutoscalerStatus, BusStatus, autoscaler_status, problems, seconds_since


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaStatus:
    """One replica; None where nothing is known.

    Attributes:
        reported_age_s: how old the load is that is shown.
    """

    id: str
    pid: int
    state: str
    address: str | None
    executor: str
    device: str
    running: int | None
    waiting: int | None
    kv_cache_usage_ratio: float | None
    adapters: tuple[str, ...]
    reason: str
    front_end: str
    front_end_reason: str
    rust_names: tuple[str, ...]
    reported_age_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterStatus:
    """One adapter of a model.

    Attributes:
        loaded: ready replicas that serve it; its name is routed when all of them do.
        causes: why it could not be loaded as declared, each with the replica's id.
    """

    name: str
    source: str
    loaded: int
    causes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelStatus:
    """One model.

    Attributes:
        target: None until the autoscaler has decided.
        held: requests that wait at the edge for a first replica; None when no edge has said.
        aliases_served_by_python: aliases that a Rust front end of the model does not know, because
            they came after its start.
        failure: why it does not come; None when nothing is known to be wrong.
    """

    name: str
    aliases: tuple[str, ...]
    aliases_served_by_python: tuple[str, ...]
    target: int | None
    target_reason: str | None
    ready: int
    held: int | None
    replicas: tuple[ReplicaStatus, ...]
    adapters: tuple[AdapterStatus, ...]
    failure: FailureStatus | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HAProxyStatus:
    """The edge's HAProxy; `pid` is None while it is down."""

    version: str | None
    pid: int | None
    reloads: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingRevision:
    """Which state HAProxy has; None until an edge has said so.

    Attributes:
        age_s: how old this is: an edge says it every five seconds.
    """

    revision: int | None
    applied_at: float | None
    degraded: str
    age_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessStatus:
    """One supervised process."""

    name: str
    state: str
    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The whole stack as `sluice status` shows it.

    Attributes:
        rejected: invalid records on the bus, each with its bucket, its key and the reason.
        supervised: whether supervisord answers; nothing that ends is started again otherwise.
        problems: all that is wrong, each with what it means; empty where nothing is.
    """

    api_url: str
    haproxy: HAProxyStatus
    nats_url: str
    bus: BusStatus
    autoscaler: AutoscalerStatus
    supervised: bool
    routing: RoutingRevision
    models: tuple[ModelStatus, ...]
    scaling: ScalingStatus
    processes: tuple[ProcessStatus, ...]
    rejected: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        """Return plain values for `--json`."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What a status is made of, as it was read.

    Attributes:
        now: Unix time in seconds of the reading.
        leader: the autoscaler's claim; None where there is none.
        processes: None where supervisord does not answer.
    """

    now: float
    bus: BusStatus
    leader: LeaderClaim | None
    specs: Iterable[ModelSpec]
    leases: Iterable[ReplicaLease]
    manual: Mapping[ModelName, ManualTarget]
    decided: Mapping[ModelName, DecidedTarget]
    loads: Mapping[ReplicaId, LoadReport]
    demands: Iterable[DemandReport]
    failing: Mapping[ModelName, FailingModel] = field(default_factory=dict)
    trouble: AutoscalerTrouble | None = None
    routing: RoutingStatus | None
    processes: tuple[ProcessStatus, ...] | None
    rejected: Iterable[str] = ()


def assemble(observed: Observed, *, api_url: str, nats_url: str) -> Status:
    """Put the parts together; models and replicas come in order of their names."""
    leases = list(observed.leases)
    status = Status(
        api_url=api_url,
        haproxy=_haproxy(observed.routing),
        nats_url=nats_url,
        bus=observed.bus,
        autoscaler=_autoscaler(observed),
        supervised=observed.processes is not None,
        routing=_routing(observed.routing, observed.now),
        models=tuple(
            _model(spec, [each for each in leases if each.model == spec.name], observed)
            for spec in sorted(observed.specs, key=lambda spec: spec.name)
        ),
        scaling=scaling_status(observed.trouble),
        processes=observed.processes or (),
        rejected=tuple(observed.rejected),
    )
    return replace(status, problems=tuple(problems(status)))


def _autoscaler(observed: Observed) -> AutoscalerStatus:
    if not observed.bus.answers:
        return AutoscalerStatus(leads=None, age_s=None)
    return autoscaler_status(observed.leader, observed.now)


def _haproxy(routing: RoutingStatus | None) -> HAProxyStatus:
    if routing is None:
        return HAProxyStatus(version=None, pid=None, reloads=None)
    return HAProxyStatus(
        version=routing.haproxy_version, pid=routing.haproxy_pid, reloads=routing.reloads
    )


def _routing(routing: RoutingStatus | None, now: float) -> RoutingRevision:
    if routing is None:
        degraded = "no edge has reported"
        return RoutingRevision(revision=None, applied_at=None, degraded=degraded, age_s=None)
    return RoutingRevision(
        revision=routing.revision,
        applied_at=routing.applied_at,
        degraded=routing.degraded,
        age_s=seconds_since(routing.observed_at, now),
    )


def _model(spec: ModelSpec, leases: list[ReplicaLease], observed: Observed) -> ModelStatus:
    manual, decided = observed.manual.get(spec.name), observed.decided.get(spec.name)
    target = manual.replicas if manual else decided.replicas if decided else None
    reason = "manual" if manual else decided.reason.value if decided else None
    return ModelStatus(
        name=spec.name,
        aliases=spec.aliases,
        aliases_served_by_python=_unknown_to_rust(spec.aliases, leases),
        target=target,
        target_reason=reason,
        ready=sum(lease.state is ReplicaState.READY for lease in leases),
        held=_held(spec.name, observed.demands),
        replicas=tuple(
            _replica(lease, observed.loads.get(lease.replica_id), observed.now)
            for lease in sorted(leases, key=lambda lease: lease.replica_id)
        ),
        adapters=tuple(_adapter(each, leases) for each in spec.adapters),
        failure=failure_status(observed.failing.get(spec.name)),
    )


def _unknown_to_rust(aliases: tuple[str, ...], leases: list[ReplicaLease]) -> tuple[str, ...]:
    serving = [
        set(lease.rust_names)
        for lease in leases
        if lease.state is ReplicaState.READY and lease.front_end is FrontEnd.RUST
    ]
    return tuple(alias for alias in aliases if any(alias not in names for names in serving))


def _adapter(adapter: AdapterSpec, leases: list[ReplicaLease]) -> AdapterStatus:
    return AdapterStatus(
        name=adapter.name,
        source=adapter.source,
        loaded=sum(
            lease.state is ReplicaState.READY and adapter.name in lease.adapters for lease in leases
        ),
        causes=tuple(
            f"{lease.replica_id}: {trouble.cause}"
            for lease in sorted(leases, key=lambda lease: lease.replica_id)
            for trouble in lease.adapter_troubles
            if trouble.adapter == adapter.name
        ),
    )


def _held(model: ModelName, demands: Iterable[DemandReport]) -> int | None:
    """Sum up what edges say; one that does not know makes the sum unknown."""
    said = [each.held for each in demands if each.model == model]
    known = [held for held in said if held is not None]
    return sum(known) if known and len(known) == len(said) else None


def _replica(lease: ReplicaLease, load: LoadReport | None, now: float) -> ReplicaStatus:
    return ReplicaStatus(
        id=lease.replica_id,
        pid=lease.pid,
        state=lease.state.value,
        address=str(lease.address) if lease.address else None,
        executor=lease.executor,
        device=lease.device,
        running=load.running if load else None,
        waiting=load.waiting if load else None,
        kv_cache_usage_ratio=load.kv_cache_usage_ratio if load else None,
        adapters=lease.adapters,
        reason=lease.reason,
        front_end=lease.front_end.value,
        front_end_reason=lease.front_end_reason,
        rust_names=lease.rust_names,
        reported_age_s=seconds_since(load.observed_at, now) if load else None,
    )
