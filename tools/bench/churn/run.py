"""One churn run: replicas join and leave at a pace while clients stream; see README.md."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

import httpx

from libs.contracts.ids import ModelName
from libs.errors import TransientError
from libs.haproxy.client import HaproxyClient
from tools.bench.churn.clients import Clients, clients
from tools.bench.churn.edges import Edge
from tools.bench.churn.fleet import fleet
from tools.bench.churn.leases import Leases
from tools.bench.churn.long_stream import LongStream
from tools.bench.churn.plan import ChurnPlan
from tools.bench.churn.result import (
    ChurnResult,
    LongStreamResult,
    RequestCounts,
    load_counts,
    reloads_between,
)
from tools.bench.churn.rotation import Rotation
from tools.bench.churn.watch import Probe, Servers
from tools.bench.load.result import LoadResult

_LEAVING_MAX: Final = 64
_LAST_WORD_S: Final = 0.3
_LONG_STREAM_END_S: Final = 15.0
_HAPROXY_S: Final = 5.0
_PROBE_S: Final = 10.0
_SEQUENCES_MIN: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a run gets on."""

    cycles: int
    requests: int
    failed: int


@dataclass(slots=True, kw_only=True)
class _Churn:
    """One run and its parts.

    Attributes:
        stop: ends the run early.
        problems: what ended it early against its will.
        leaving: replicas on their way out, with their tasks.
    """

    plan: ChurnPlan
    rotation: Rotation
    clients: Clients
    long: LongStream
    stop: asyncio.Event
    tell: Callable[[Standing], None]
    tasks: asyncio.TaskGroup
    cycles: int = 0
    problems: list[str] = field(default_factory=list)
    leaving: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    async def settle(self) -> None:
        """Bring the first replicas up; what the probe meets meanwhile does not count."""
        for _ in range(self.plan.replicas):
            await self.rotation.join()
        self.rotation.probe.forget()
        self.rotation.joins_s.clear()

    async def churn(self) -> None:
        """Do the cycles, then wait for the leaves; only the long stream's replica stays."""
        began_s = time.monotonic()
        for number in range(self.plan.cycles):
            await self._pause_until(began_s + number * self.plan.pace_s)
            if self.stop.is_set():
                break
            await self._cycle()
        others = [task for name, task in self.leaving.items() if name != self.rotation.lasting]
        await asyncio.gather(*others)

    async def end_long_stream(self, following: asyncio.Task[None]) -> None:
        """Let the long stream end whole, and wait for its replica if that was leaving."""
        if self.long.replica:
            await self._attempt(self.rotation.fleet.finish(self.long.replica), "the long stream")
        with suppress(TimeoutError):
            async with asyncio.timeout(_LONG_STREAM_END_S):
                await following
                await asyncio.gather(*self.leaving.values())
        for task in self.leaving.values():
            task.cancel()

    async def _cycle(self) -> None:
        await self._attempt(self.rotation.join(), "a join")
        if self.stop.is_set():
            return
        name = self.rotation.oldest()
        leave = self._attempt(self.rotation.leave(name), f"the leave of {name}")
        self.leaving[name] = self.tasks.create_task(leave)
        self.leaving[name].add_done_callback(lambda _: self.leaving.pop(name, None))
        self.cycles += 1
        heard = self.clients.progress
        self.tell(Standing(cycles=self.cycles, requests=heard.finished, failed=heard.failed))

    async def _attempt(self, work: Awaitable[None], what: str) -> None:
        """Do a part of the run; where it cannot be done, the run ends with what was found."""
        try:
            await work
        except TransientError as exc:
            self.problems.append(f"{what}: {exc}")
            self.stop.set()

    async def _pause_until(self, due_s: float) -> None:
        """Wait for the next cycle's time, and for a place among those that leave."""
        if len(self.leaving) >= _LEAVING_MAX:
            await asyncio.wait(self.leaving.values(), return_when=asyncio.FIRST_COMPLETED)
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, due_s - time.monotonic())):
                await self.stop.wait()


async def run_churn(
    plan: ChurnPlan, edge: Edge, *, tell: Callable[[Standing], None], stop: asyncio.Event
) -> ChurnResult:
    """Run a plan to its end, or until `stop` is set, and return what was found.

    Raises:
        TransientError: the edge or the clients did not even start; nothing was measured.
    """
    async with asyncio.TaskGroup() as tasks, _churn(plan, edge, tasks, tell, stop) as churn:
        began_s = time.monotonic()
        await churn.settle()
        before = await edge.status()
        following = tasks.create_task(churn.long.follow(edge.api_url, churn.rotation.probe.model))
        await churn.long.began.wait()
        churn.rotation.lasting = churn.long.replica
        await churn.clients.start()
        await churn.churn()
        await churn.end_long_stream(following)
        load = await churn.clients.stop()
        return _result(
            churn,
            load,
            duration_s=time.monotonic() - began_s,
            reloads=reloads_between(before, await edge.status()),
        )


@asynccontextmanager
async def _churn(
    plan: ChurnPlan,
    edge: Edge,
    tasks: asyncio.TaskGroup,
    tell: Callable[[Standing], None],
    stop: asyncio.Event,
) -> AsyncIterator[_Churn]:
    """Build the parts; afterwards no lease, no replica and no client is left."""
    model = ModelName(f"churn-{secrets.token_hex(4)}")
    async with AsyncExitStack() as stack:
        replicas = await stack.enter_async_context(fleet(token_s=plan.token_s))
        sequences = max(_SEQUENCES_MIN, plan.clients + 1)
        leases = Leases(edge.leases, model, max_num_seqs=sequences)
        refreshing = tasks.create_task(leases.refresh())
        stack.push_async_callback(_withdraw, leases)
        stack.callback(refreshing.cancel)
        http = httpx.AsyncClient(base_url=edge.api_url, timeout=_PROBE_S)
        yield _Churn(
            plan=plan,
            rotation=Rotation(
                fleet=replicas,
                leases=leases,
                probe=Probe(http=await stack.enter_async_context(http), model=model),
                servers=Servers(client=HaproxyClient(edge.admin_socket, timeout_s=_HAPROXY_S)),
            ),
            clients=await stack.enter_async_context(
                clients(plan, api_url=edge.api_url, model=model)
            ),
            long=LongStream(),
            stop=stop,
            tell=tell,
            tasks=tasks,
        )


async def _withdraw(leases: Leases) -> None:
    """Take every replica out, then its lease: a lease that only vanished would mean unknown."""
    with suppress(TransientError):
        await leases.stop_all()
        await asyncio.sleep(_LAST_WORD_S)
        await leases.withdraw_all()


def _result(
    churn: _Churn, load: LoadResult | None, *, duration_s: float, reloads: int | None
) -> ChurnResult:
    check, probe = churn.long.check, churn.rotation.probe
    long = LongStreamResult(
        is_whole=check.is_whole,
        status=churn.long.status,
        tokens=check.tokens,
        duration_s=round(churn.long.duration_s, 3),
        fault=check.fault,
    )
    asked = RequestCounts(
        requests=probe.sent, failed=sum(probe.errors.values()), errors=dict(probe.errors)
    )
    counts = asked.plus(long.counts())
    return ChurnResult(
        cycles=churn.cycles,
        duration_s=duration_s,
        counts=counts.plus(load_counts(load)) if load else counts,
        joins_s=churn.rotation.joins_s,
        leaves_s=churn.rotation.leaves_s,
        reloads=reloads,
        long_stream=long,
        error_examples=load.error_examples if load else {},
        problems=tuple(churn.problems),
        clients_late=load.verdict.reasons if load else (),
        interrupted=churn.stop.is_set() and not churn.problems,
    )
