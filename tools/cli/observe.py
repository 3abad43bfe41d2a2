"""Read what `status` shows: buckets, load reports, processes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Iterable
from collections.abc import Set as AbstractSet
from contextlib import AsyncExitStack
from typing import Final

from deploy.local.launch import identity_of, read_identity
from libs.bus.nats_bus import NatsBus
from libs.bus.ports import BucketView, Record, Report, Snapshot
from libs.clock import Clock
from libs.contracts.checks import line
from libs.contracts.ids import ModelName
from libs.contracts.leader import LeaderClaim
from libs.contracts.lease import ReplicaLease
from libs.contracts.model_spec import ModelSpec
from libs.contracts.reports import DemandReport, LoadReport, RoutingStatus
from libs.contracts.subjects import (
    DEMAND_SUBJECTS,
    LEADERS_BUCKET,
    LOAD_SUBJECTS,
    MODELS_BUCKET,
    REPLICAS_BUCKET,
    ROUTING_BUCKET,
    TARGETS_BUCKET,
    TENANTS_BUCKET,
)
from libs.contracts.targets import DecidedTarget, ManualTarget
from libs.errors import ControlPlaneError, PeerUnreachableError
from tools.cli.failures import failing_since, trouble_since
from tools.cli.health import BusStatus
from tools.cli.stack.layout import Layout
from tools.cli.stack.supervisor import ProgramState, Supervisor
from tools.cli.status import Observed, ProcessStatus

_AUTOSCALER: Final = "autoscaler"

_OBSERVED_BUCKETS: Final = (
    *(MODELS_BUCKET, REPLICAS_BUCKET, TARGETS_BUCKET, ROUTING_BUCKET),
    *(TENANTS_BUCKET, LEADERS_BUCKET),
)

_REPORT_WAIT_S: Final = 1.5
"""Replicas and edges report once a second."""


_NO_MODEL: Final = "manual.-"
"""A key of targets that no model's name can make; removing it is a write that changes nothing."""


async def observe(bus: NatsBus, layout: Layout, *, clock: Clock, since: float) -> Observed:
    """Read everything once; waits at most 1.5 s for the reports of replicas and edges.

    What failed before `since`, in Unix seconds, is left out: another stack wrote it.
    """
    snapshots = await read_snapshots(bus, _OBSERVED_BUCKETS)
    records = _values(snapshots)
    leases = [each for each in records if isinstance(each, ReplicaLease)]
    specs = [each for each in records if isinstance(each, ModelSpec)]
    loads, demands = await asyncio.gather(
        _heard(bus, LOAD_SUBJECTS, _replica, expected={lease.replica_id for lease in leases}),
        _heard(bus, DEMAND_SUBJECTS, _model, expected={spec.name for spec in specs}),
    )
    return Observed(
        now=clock.now(),
        bus=await try_writing(bus),
        leader=leader(records),
        specs=specs,
        leases=leases,
        manual={each.model: each for each in records if isinstance(each, ManualTarget)},
        decided={each.model: each for each in records if isinstance(each, DecidedTarget)},
        loads={each.replica_id: each for each in loads if isinstance(each, LoadReport)},
        demands=[each for each in demands if isinstance(each, DemandReport)],
        failing=failing_since(records, since),
        trouble=trouble_since(records, since),
        routing=next((each for each in records if isinstance(each, RoutingStatus)), None),
        processes=processes(layout),
        rejected=[
            f"{snapshot.bucket}/{line(key)}: {why}"
            for snapshot in snapshots
            for key, why in snapshot.rejected.items()
        ],
    )


def without_bus(layout: Layout, *, now: float, cause: str) -> Observed:
    """Return what can be told without the bus: the processes."""
    return Observed(
        now=now,
        bus=BusStatus(answers=False, takes_writes=None, cause=cause),
        leader=None,
        specs=(),
        leases=(),
        manual={},
        decided={},
        loads={},
        demands=(),
        routing=None,
        processes=processes(layout),
    )


def leader(records: Iterable[Record]) -> LeaderClaim | None:
    """Return the autoscaler's claim; None where there is none."""
    claims = (each for each in records if isinstance(each, LeaderClaim))
    return next((each for each in claims if each.service == _AUTOSCALER), None)


async def try_writing(bus: NatsBus) -> BusStatus:
    """Find out whether the bus stores what it gets: with a full disk it answers all the same."""
    try:
        await bus.delete(TARGETS_BUCKET, _NO_MODEL)
    except ControlPlaneError as exc:
        return BusStatus(answers=True, takes_writes=False, cause=str(exc))
    return BusStatus(answers=True, takes_writes=True)


async def read_buckets(bus: NatsBus, buckets: tuple[str, ...]) -> list[Record]:
    """Read whole buckets, one after the other in one list."""
    return _values(await read_snapshots(bus, buckets))


async def read_snapshots(bus: NatsBus, buckets: tuple[str, ...]) -> list[Snapshot]:
    """Read whole buckets; waits at most 1.5 s for leases that may be about to be written."""
    async with AsyncExitStack() as stack:
        views = [await stack.enter_async_context(bus.view(bucket)) for bucket in buckets]
        await asyncio.gather(*(_settled(view) for view in views))
        return [view.snapshot() for view in views]


def _values(snapshots: list[Snapshot]) -> list[Record]:
    return [entry.value for snapshot in snapshots for entry in snapshot.entries.values()]


async def _settled(view: BucketView) -> None:
    """Wait for one refresh of leases that look too old, and for the first lease if there are none.

    Clocks may differ, and a NATS that was away has no leases until replicas have written them.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_REPORT_WAIT_S):
            while _is_unsettled(view.snapshot()):
                await view.changed(timeout_s=_REPORT_WAIT_S)


def _is_unsettled(snapshot: Snapshot) -> bool:
    is_empty = snapshot.bucket == REPLICAS_BUCKET and not snapshot.entries
    return is_empty or bool(snapshot.unproven)


async def stored_models(bus: NatsBus) -> dict[ModelName, ModelSpec]:
    """Read the declared models by name."""
    records = await read_buckets(bus, (MODELS_BUCKET,))
    return {each.name: each for each in records if isinstance(each, ModelSpec)}


def processes(layout: Layout) -> tuple[ProcessStatus, ...] | None:
    """List the supervised processes; None when supervisord does not answer."""
    try:
        states = Supervisor(layout.supervisor_socket).states()
    except (PeerUnreachableError, OSError):
        return None
    return tuple(
        ProcessStatus(name=each.name, state=each.state, pid=_pid(layout, each)) for each in states
    )


def _pid(layout: Layout, state: ProgramState) -> int:
    """Return the program's own process: supervisord may have one that looks after it."""
    known = read_identity(layout.pid_file(state.name))
    if state.pid and known is not None and identity_of(known.pid) == known:
        return known.pid
    return state.pid


async def _heard(
    bus: NatsBus, subjects: str, about: Callable[[Report], str], *, expected: AbstractSet[str]
) -> Collection[Report]:
    """Listen until everybody has reported who is expected to, or the time is over."""
    heard: dict[str, Report] = {}
    if not expected:
        return ()
    async with bus.reports(subjects) as incoming:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_REPORT_WAIT_S):
                async for received in incoming:
                    heard[received.subject] = received.value
                    if expected <= {about(report) for report in heard.values()}:
                        break
    return heard.values()


def _replica(report: Report) -> str:
    return report.replica_id if isinstance(report, LoadReport) else ""


def _model(report: Report) -> str:
    return report.model
