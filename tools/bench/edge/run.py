"""Runs the cases: every HAProxy is up from the start, and they have their turns in rounds."""

from __future__ import annotations

import asyncio
import socket
import statistics
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import uvloop

from libs.errors import PeerUnreachableError
from libs.testing.free_port import free_port
from libs.testing.real_haproxy import haproxy_in, short_folder
from tools.bench.edge.cases import CASES, Case, EdgePlan, config_in, request, upstream
from tools.bench.edge.client import send_turn

START_TIMEOUT_S: Final = 10.0
SETTLE_S: Final = 1.5
"""Until the first health checks are over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseCost:
    """What one case cost; microseconds of HAProxy's CPU for one request, one for each round."""

    name: str
    cpu_us: tuple[float, ...]

    @property
    def median_us(self) -> float:
        """Return the middle of the rounds."""
        return statistics.median(self.cpu_us)


def measure_edge(plan: EdgePlan, tell: Callable[[str], None]) -> list[CaseCost]:
    """Measure every case; the first of the result is the plain proxy.

    Raises:
        PeerUnreachableError: a HAProxy did not start, or did not answer every request.
    """
    return uvloop.run(_measure(plan, tell))


async def _measure(plan: EdgePlan, tell: Callable[[str], None]) -> list[CaseCost]:
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(short_folder())
        stack.push_async_callback(_close, _span_sink(folder / "span.sock"))
        behind = upstream(config_in(folder / "upstream", free_port()))
        await stack.enter_async_context(_running(behind))
        pids = {}
        for number, make in enumerate(CASES):
            case = make(config_in(folder / f"c{number}", free_port()), behind.config.port)
            pids[case.name] = (case, await stack.enter_async_context(_running(case)))
        await asyncio.sleep(SETTLE_S)
        return await _rounds(plan, list(pids.values()), tell)


async def _rounds(
    plan: EdgePlan, running: list[tuple[Case, int]], tell: Callable[[str], None]
) -> list[CaseCost]:
    costs: dict[str, list[float]] = {case.name: [] for case, _ in running}
    for number in range(plan.rounds + 1):
        tell(f"round {number} of {plan.rounds}" if number else "warming up")
        for case, pid in running:
            cost = await _turn(plan, case, pid)
            if number:
                costs[case.name].append(cost)
    return [CaseCost(name=name, cpu_us=tuple(found)) for name, found in costs.items()]


async def _turn(plan: EdgePlan, case: Case, pid: int) -> float:
    asked = request(case, body_bytes=plan.body_bytes)
    before = _cpu_s(pid)
    await send_turn(case.config.port, asked, requests=plan.requests, clients=plan.clients)
    return (_cpu_s(pid) - before) / plan.requests * 1e6


def _cpu_s(pid: int) -> float:
    """Read what the scheduler gave to a process of one thread, in nanoseconds: proc(5) has ticks.

    Source: Linux, Documentation/scheduler/sched-stats.rst, /proc/<pid>/schedstat.
    """
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


@asynccontextmanager
async def _running(case: Case) -> AsyncIterator[int]:
    case.folder.mkdir()
    for name, text in case.files.items():
        (case.folder / name).write_text(text)
    async with haproxy_in(case.folder, *case.configuration) as pid:
        await _until_open(case)
        yield pid


async def _until_open(case: Case) -> None:
    try:
        async with asyncio.timeout(START_TIMEOUT_S):
            while True:
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", case.config.port)) == 0:
                        return
                await asyncio.sleep(0.02)
    except TimeoutError as exc:
        said = (case.folder / "haproxy.log").read_text(errors="replace")
        raise PeerUnreachableError(peer="haproxy", cause=f"{case.name}: {said[-2000:]}") from exc


def _span_sink(path: Path) -> socket.socket:
    """Take the lines of traced requests as router-config does, and drop them."""
    sink = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sink.setblocking(False)  # noqa: FBT003 - the library has it by position
    sink.bind(str(path))
    asyncio.get_running_loop().add_reader(sink.fileno(), sink.recv, 65536)
    return sink


async def _close(sink: socket.socket) -> None:
    asyncio.get_running_loop().remove_reader(sink.fileno())
    sink.close()
