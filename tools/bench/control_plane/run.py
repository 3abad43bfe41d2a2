"""Fills an empty HAProxy and changes it, again and again, and times every step."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from libs.contracts.lease import ReplicaLease, ReplicaState
from libs.contracts.model_spec import ModelSpec
from libs.contracts.subjects import MODELS_BUCKET, REPLICAS_BUCKET, lease_key
from libs.errors import ControlPlaneError
from services.router_config.domain.model import Known
from tools.bench.control_plane.edge import EmptyEdge, empty_edge, health_answers
from tools.bench.control_plane.result import Cost, Result, Step
from tools.bench.control_plane.size import Size

_KNOWN_WITHIN_S: Final = 30.0
_SETTLED_WITHIN_S: Final = 30.0
_POLL_S: Final = 0.005
_WRITES_AT_ONCE: Final = 64
_TICKS: Final = os.sysconf("SC_CLK_TCK")


class NotAppliedError(ControlPlaneError):
    """HAProxy does not have what it was given."""


@dataclass(slots=True, kw_only=True)
class _Costs:
    """What was measured so far."""

    by_step: dict[Step, list[Cost]] = field(default_factory=lambda: {step: [] for step in Step})

    async def measure(self, step: Step, edge: EmptyEdge) -> None:
        """Time one round of the loop."""
        began = (time.perf_counter(), time.process_time(), _cpu_s(edge.haproxy_pid))
        await edge.loop.reconcile()
        ended = (time.perf_counter(), time.process_time(), _cpu_s(edge.haproxy_pid))
        wall_s, python_s, haproxy_s = (end - begin for begin, end in zip(began, ended, strict=True))
        self.by_step[step].append(Cost(wall_s=wall_s, python_s=python_s, haproxy_s=haproxy_s))


async def run(size: Size, *, rounds: int, changes: int, tell: Callable[[str], None]) -> Result:
    """Fill HAProxy so many times, and each time change it so many times.

    Raises:
        UsageError: there is no HAProxy that can be used.
        NotAppliedError: a step did not lead to what it should have led to.
        TransientError: a peer did not start or did not answer.
    """
    costs = _Costs()
    async with health_answers(size.hosts()) as port:
        for number in range(1, rounds + 1):
            tell(f"round {number} of {rounds}")
            async with empty_edge() as edge:
                await _fill(size, edge, port=port, costs=costs)
                for turn in range(changes):
                    await _change(size, edge, costs, port=port, turn=turn)
    return Result(size=size, costs=costs.by_step)


async def _fill(size: Size, edge: EmptyEdge, *, port: int, costs: _Costs) -> None:
    specs = size.specs()
    leases = [size.lease(index, port=port) for index in range(size.replicas)]
    for at in range(0, len(specs), _WRITES_AT_ONCE):
        await asyncio.gather(*(_declare(edge, each) for each in specs[at : at + _WRITES_AT_ONCE]))
    for at in range(0, len(leases), _WRITES_AT_ONCE):
        await asyncio.gather(*(_say(edge, each) for each in leases[at : at + _WRITES_AT_ONCE]))
    await _until_known(
        edge,
        lambda known: len(known.models or ()) == size.models and len(known.leases) == size.replicas,
    )
    await costs.measure(Step.FROM_NOTHING, edge)
    await _require(edge, servers=size.servers, names=size.names)
    await costs.measure(Step.NOTHING_TO_DO, edge)


async def _change(size: Size, edge: EmptyEdge, costs: _Costs, *, port: int, turn: int) -> None:
    """Let one replica join and leave, and one model have one more name and lose it again."""
    guest = size.lease(size.replicas, port=port, incarnation=turn + 1)
    async with _said(edge, guest):
        await costs.measure(Step.JOIN, edge)
        await _require(edge, servers=size.servers + 2, names=size.names)
        await _say(edge, replace(guest, state=ReplicaState.DRAINING))
        await _until_known(edge, lambda known: _states(known, guest) == {ReplicaState.DRAINING})
        await costs.measure(Step.LEAVE, edge)
    await _require(edge, servers=size.servers, names=size.names)
    (first, *_) = size.specs()
    longer = replace(first, aliases=(*first.aliases, f"one-more-{turn}"))
    for spec, step, names in (
        (longer, Step.NEW_NAME, size.names + 1),
        (first, Step.LOST_NAME, size.names),
    ):
        await _declare(edge, spec)
        await _until_declared(edge, spec)
        await costs.measure(step, edge)
        await _require(edge, servers=size.servers, names=names)


@asynccontextmanager
async def _said(edge: EmptyEdge, lease: ReplicaLease) -> AsyncIterator[None]:
    """Write a lease, and remove it afterwards."""
    await _say(edge, lease)
    await _until_known(edge, lambda known: bool(_states(known, lease)))
    yield
    await edge.bus.delete(REPLICAS_BUCKET, lease_key(lease.model, lease.replica_id))
    await _until_known(edge, lambda known: not _states(known, lease))


def _states(known: Known, lease: ReplicaLease) -> set[ReplicaState]:
    return {
        each.state
        for each in known.leases
        if (each.replica_id, each.incarnation) == (lease.replica_id, lease.incarnation)
    }


async def _declare(edge: EmptyEdge, spec: ModelSpec) -> None:
    await edge.bus.put(MODELS_BUCKET, spec.name, spec)


async def _say(edge: EmptyEdge, lease: ReplicaLease) -> None:
    await edge.bus.put(REPLICAS_BUCKET, lease_key(lease.model, lease.replica_id), lease)


async def _until_declared(edge: EmptyEdge, spec: ModelSpec) -> None:
    await _until_known(edge, lambda known: spec in (known.models or ()))


async def _until_known(edge: EmptyEdge, is_so: Callable[[Known], bool]) -> None:
    async def known() -> bool:
        return is_so(edge.loop.known())

    await _until(known, within_s=_KNOWN_WITHIN_S, what="what was written to come over the bus")


async def _require(edge: EmptyEdge, *, servers: int, names: int) -> None:
    """Reconcile until nothing is left to do, then compare with what HAProxy shows."""

    async def settled() -> bool:
        if await edge.loop.reconcile():
            return False
        view = edge.loop.standing().view
        found = view.observed if view else None
        return found is not None and (len(found.servers), len(found.routes)) == (servers, names)

    what = f"{servers} servers and {names} names"
    await _until(settled, within_s=_SETTLED_WITHIN_S, what=what)


async def _until(ask: Callable[[], Awaitable[bool]], *, within_s: float, what: str) -> None:
    deadline = time.monotonic() + within_s
    while not await ask():
        if time.monotonic() > deadline:
            raise NotAppliedError(f"HAProxy was not brought to {what} within {within_s:g} s")
        await asyncio.sleep(_POLL_S)


def _cpu_s(pid: int) -> float:
    """Return the CPU time that a process has used, in steps of 10 ms.

    Source: proc(5), fields 14 and 15 of `stat`, behind the command name in parentheses.
    """
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS
