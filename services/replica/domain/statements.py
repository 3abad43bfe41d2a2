"""What a replica says of itself: its lease, its facts and its load report, as values."""

from __future__ import annotations

from dataclasses import dataclass, replace

from libs.contracts.events import ReplicaFailed, ReplicaJoined, ReplicaLeft, Stamp
from libs.contracts.ids import Incarnation, ModelName, ReplicaId
from libs.contracts.lease import (
    AdapterTrouble,
    Address,
    FrontEnd,
    ReplicaLease,
    ReplicaState,
    Versions,
)
from libs.contracts.reports import LoadReport
from services.replica.domain.lifecycle import LifecycleEvent, advance
from services.replica.domain.load import Load


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who a replica is, from its start to its end; fields as in `ReplicaLease`."""

    replica_id: ReplicaId
    incarnation: Incarnation
    model: ModelName
    device: str
    max_num_seqs: int
    pid: int
    started_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontEnds:
    """Where an engine's front ends listen; fields as in `ReplicaLease`, `main` is its front end."""

    address: Address | None = None
    main: FrontEnd = FrontEnd.PYTHON
    reason: str = ""
    python_address: Address | None = None
    rust_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFacts:
    """What is known of an engine once it runs; `executor` is the class name of vLLM's executor."""

    executor: str
    versions: Versions
    front_ends: FrontEnds


UNKNOWN_ENGINE = EngineFacts(
    executor="", versions=Versions(sluice="", vllm="", ray=""), front_ends=FrontEnds()
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a replica stands at one moment; `ready_at` is None before it is ready.

    `adapters` and `adapter_troubles` as in `ReplicaLease`.
    """

    state: ReplicaState = ReplicaState.STARTING
    reason: str = ""
    ready_at: float | None = None
    engine: EngineFacts = UNKNOWN_ENGINE
    adapters: tuple[str, ...] = ()
    adapter_troubles: tuple[AdapterTrouble, ...] = ()

    def with_ready(self, *, at: float, engine: EngineFacts) -> Standing:
        """Return the standing of a replica that has just become ready."""
        state = advance(self.state, LifecycleEvent.BECAME_READY)
        return replace(self, state=state, ready_at=at, engine=engine)

    def with_adapters(
        self, adapters: tuple[str, ...], troubles: tuple[AdapterTrouble, ...]
    ) -> Standing:
        """Return the standing with these adapters served, and these that could not be loaded."""
        return replace(self, adapters=adapters, adapter_troubles=troubles)

    def with_event(self, event: LifecycleEvent, *, reason: str = "") -> Standing:
        """Return the standing after an event; `reason` says why it failed."""
        return replace(self, state=advance(self.state, event), reason=reason)


def lease(who: Identity, how: Standing) -> ReplicaLease:
    """State the lease."""
    front_ends = how.engine.front_ends
    return ReplicaLease(
        replica_id=who.replica_id,
        incarnation=who.incarnation,
        model=who.model,
        state=how.state,
        address=front_ends.address,
        max_num_seqs=who.max_num_seqs,
        executor=how.engine.executor,
        device=who.device,
        pid=who.pid,
        versions=how.engine.versions,
        started_at=who.started_at,
        ready_at=how.ready_at,
        adapters=how.adapters,
        adapter_troubles=how.adapter_troubles,
        reason=how.reason,
        front_end=front_ends.main,
        front_end_reason=front_ends.reason,
        python_address=front_ends.python_address,
        rust_names=front_ends.rust_names,
    )


def joined(
    who: Identity, stamp: Stamp, *, address: Address | None, start_duration_s: float
) -> ReplicaJoined:
    """State that the replica became ready at the stamp's time."""
    return ReplicaJoined(
        stamp=stamp,
        model=who.model,
        replica_id=who.replica_id,
        incarnation=who.incarnation,
        address=str(address),
        start_duration_s=start_duration_s,
    )


def left(who: Identity, stamp: Stamp, *, drain_duration_s: float, unfinished: int) -> ReplicaLeft:
    """State that the replica drained and stopped at the stamp's time."""
    return ReplicaLeft(
        stamp=stamp,
        model=who.model,
        replica_id=who.replica_id,
        incarnation=who.incarnation,
        drain_duration_s=drain_duration_s,
        unfinished=unfinished,
    )


def failed(who: Identity, stamp: Stamp, *, cause: str) -> ReplicaFailed:
    """State that the replica ended without being asked to."""
    return ReplicaFailed(
        stamp=stamp,
        model=who.model,
        replica_id=who.replica_id,
        incarnation=who.incarnation,
        cause=cause,
    )


def load_report(who: Identity, load: Load, *, observed_at: float) -> LoadReport:
    """State the load."""
    return LoadReport(
        model=who.model,
        replica_id=who.replica_id,
        running=load.running,
        waiting=load.waiting,
        kv_cache_usage_ratio=load.kv_cache_usage_ratio,
        ttft_p50_s=load.ttft_p50_s,
        tokens_per_s=load.tokens_per_s,
        observed_at=observed_at,
        prefix_cache_hit_ratio=load.prefix_cache_hit_ratio,
        lost_reports_count=load.lost_reports_count,
    )
