"""Runs a plan in processes of its own and returns what they found: `run_load(plan)`.

The generator never shares its process with a progress bar or with its caller, so that its CPU time
and its lateness are its own. Its processes end when the caller's does.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Final, Self, TypeAlias, cast

from libs.errors import ControlPlaneError
from tools.bench.load.arrivals import Shard
from tools.bench.load.assemble import assemble
from tools.bench.load.plan import LoadPlan
from tools.bench.load.result import LoadResult
from tools.bench.load.shard import Progress, ShardResult
from tools.bench.load.verdict import Limits
from tools.bench.load.worker import READY

_ROOT: Final = Path(__file__).resolve().parents[3]
_READY_S: Final = 60.0
_HEAD_START_S: Final = 0.1
_POLL_S: Final = 0.2
_END_S: Final = 10.0

Line: TypeAlias = "Connection[object, object]"


class GeneratorDiedError(ControlPlaneError):
    """A process of the load generator ended before its run was over."""


@dataclass(slots=True, kw_only=True)
class _Run:
    workers: list[_Worker]
    tell: Callable[[Progress], None]
    results: dict[Line, ShardResult] = field(default_factory=dict)
    progress: dict[Line, Progress] = field(default_factory=dict)

    @property
    def open_lines(self) -> list[Line]:
        lines = [worker.line for worker in self.workers]
        return [line for line in lines if line not in self.results]

    def hear(self, line: Line) -> None:
        match _heard(line):
            case Progress() as progress:
                self.progress[line] = progress
                total = Progress(elapsed_s=0.0)
                for each in self.progress.values():
                    total = total.plus(each)
                self.tell(total)
            case ShardResult() as result:
                self.results[line] = result
            case _:
                raise GeneratorDiedError("unexpected message from a generator process")


def run_load(
    plan: LoadPlan,
    *,
    on_progress: Callable[[Progress], None] = lambda _: None,
    stop: threading.Event | None = None,
    limits: Limits | None = None,
) -> LoadResult:
    """Run a plan to its end and return the result.

    Ctrl-C, or `stop` from another thread, ends the run; the result is then what was seen so far.
    `limits` are what the verdict allows the generator; None takes the usual ones.

    Raises:
        GeneratorDiedError: a process of the generator died.
    """
    stop = stop or threading.Event()
    with ExitStack() as stack:
        workers = [
            stack.enter_context(_Worker(plan, Shard(index=index, of=plan.processes)))
            for index in range(plan.processes)
        ]
        for worker in workers:
            worker.await_ready()
        started_at, origin_s = time.time() + _HEAD_START_S, time.monotonic() + _HEAD_START_S
        for worker in workers:
            worker.line.send(origin_s)
        run = _Run(workers=workers, tell=on_progress)
        _follow(run, stop)
    return assemble(plan, list(run.results.values()), started_at=started_at, limits=limits)


def _follow(run: _Run, stop: threading.Event) -> None:
    told = False
    while run.open_lines:
        try:
            for line in wait(run.open_lines, timeout=_POLL_S):
                run.hear(cast("Line", line))
        except KeyboardInterrupt:
            if told:
                raise
            stop.set()
        if stop.is_set() and not told:
            told = True
            for worker in run.workers:
                worker.stop()


def _heard(line: Line) -> object:
    try:
        return line.recv()
    except (EOFError, OSError) as exc:
        raise GeneratorDiedError from exc


class _Worker:
    """One process of the generator; leaving the context ends it."""

    def __init__(self, plan: LoadPlan, shard: Shard) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "tools.bench.load.worker", str(theirs.fileno())],
                cwd=_ROOT,
                stdin=subprocess.PIPE,
                pass_fds=[theirs.fileno()],
                # Linux schedules by terminal session first: in one of its own, the generator
                # does not compete with everything else that this terminal runs.
                start_new_session=True,
            )
        self.line: Line = Connection(ours.detach())
        self.line.send((plan, shard))

    def __enter__(self) -> Self:
        return self

    def await_ready(self) -> None:
        if not self.line.poll(_READY_S) or _heard(self.line) != READY:
            raise GeneratorDiedError("a generator process did not start")

    def stop(self) -> None:
        """End the run in this process; its result still comes."""
        if self._child.stdin is not None:
            self._child.stdin.close()

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.line.close()
        try:
            self._child.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
