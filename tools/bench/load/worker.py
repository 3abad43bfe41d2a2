"""One process of the generator: `python -m tools.bench.load.worker FD`, started by `run_load`.

FD is a socket on which both sides send Python objects: (plan, shard) in, READY out, the start time
in, `Progress` out as it goes, `ShardResult` out. The end of standard input stops the run, so that
the process never outlives the one that started it.
"""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import signal
import sys
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

import uvloop

from tools.bench.load.arrivals import Shard
from tools.bench.load.driver import Job, drive
from tools.bench.load.plan import LoadPlan
from tools.bench.load.shard import Progress, ShardResult

READY: Final = "ready"
_DESCRIPTORS_MAX: Final = 65_536
_DESCRIPTORS_KEPT: Final = 64
_AUTOGROUP: Final = Path("/proc/self/autogroup")
_NICENESS: Final = -10
_REALTIME_PRIORITY: Final = 1
"""A generator beside its server on few CPUs must not wait behind it; only root may ask for this.

Engine cores that spin between steps make a merely nice process wait 20 to 80 ms at a time.
"""
_GC_ALLOCATIONS: Final = 200_000


def main() -> None:
    """Run one share and hand the result over."""
    # The terminal's Ctrl-C reaches every process; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    line: Connection[object, object] = Connection(int(sys.argv[1]))
    plan, shard = _plan_and_shard(line.recv())
    job = Job(plan=plan, shard=shard, in_flight_max=_descriptors() - _DESCRIPTORS_KEPT)
    _hurry()
    line.send(READY)
    origin_s = _start_time(line.recv())
    # A collection of everything that the imports left takes 50 ms, and nothing of it is garbage.
    gc.freeze()
    gc.set_threshold(_GC_ALLOCATIONS, 20, 50)
    result = uvloop.run(_drive(line, job, origin_s))
    with suppress(ConnectionError):
        line.send(result)


async def _drive(line: Connection[object, object], job: Job, origin_s: float) -> ShardResult:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def heard() -> None:
        loop.remove_reader(sys.stdin.fileno())
        stop.set()

    def tell(progress: Progress) -> None:
        if not stop.is_set():
            with suppress(ConnectionError):
                line.send(progress)

    loop.add_reader(sys.stdin.fileno(), heard)
    return await drive(job, origin_s=origin_s, stop=stop, tell=tell)


def _plan_and_shard(received: object) -> tuple[LoadPlan, Shard]:
    match received:
        case (LoadPlan() as plan, Shard() as shard):
            return plan, shard
    raise AssertionError("the first thing received is the job")


def _start_time(received: object) -> float:
    if isinstance(received, float):
        return received
    raise AssertionError("the second thing received is the start time")


def _hurry() -> None:
    """Ask for the CPU before all others; where sessions are scheduled as groups, for the group."""
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, _NICENESS)
    with suppress(OSError):
        _AUTOGROUP.write_text(str(_NICENESS))
    with suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(_REALTIME_PRIORITY))


def _descriptors() -> int:
    """Raise the limit of open files as far as this user may; return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS_MAX if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS_MAX)
    if wanted > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return max(soft, wanted)


if __name__ == "__main__":
    main()
