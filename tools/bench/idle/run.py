"""Starts a stack of its own, lets it settle, and reads its processes from /proc."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from libs.errors import ControlPlaneError
from tools.bench.compare.cpu_meter import stack_processes
from tools.bench.compare.run import simulated_spec, undisturbed
from tools.bench.compare.stacks.port import Setup
from tools.bench.compare.stacks.sluice import SluiceStack
from tools.bench.idle.costs import IdleCost, Reading, cost_of

_START_S: Final = 600.0
_PROC: Final = Path("/proc")
_SLEPT: Final = "voluntary_ctxt_switches:"

Say = Callable[[str], None]


class StackGoneError(ControlPlaneError):
    """The stack has no process any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IdlePlan:
    """What is measured.

    Attributes:
        seconds: how long, after `settle_s`. The kernel counts CPU time in hundredths of a second
            for each process, so a minute tells 0.0002 of a CPU.
        settle_s: what follows a start should be over by then, such as workers that Ray ends.
    """

    replicas: int
    seconds: float
    settle_s: float


def measure_idle(plan: IdlePlan, *, root: Path, model: Path, say: Say) -> IdleCost:
    """Start a stack, measure it while no request comes, and stop it.

    Raises:
        StackFailedError: the stack did not start.
        StackGoneError: it ended while it was measured.
    """
    say(f"starting a stack with {plan.replicas} simulated replicas")
    with _running(plan, root=root, model=model, say=say) as stack_id:
        say(f"letting it settle for {plan.settle_s:.0f} s")
        time.sleep(plan.settle_s)
        say(f"measuring for {plan.seconds:.0f} s")
        return _measure(plan, stack_id)


def _measure(plan: IdlePlan, stack_id: str) -> IdleCost:
    began, before = time.monotonic(), read_stack(stack_id)
    time.sleep(plan.seconds)
    seconds, after = time.monotonic() - began, read_stack(stack_id)
    if not after:
        raise StackGoneError
    return cost_of(before, after, seconds=seconds, replicas=plan.replicas)


@contextmanager
def _running(plan: IdlePlan, *, root: Path, model: Path, say: Say) -> Iterator[str]:
    """Run a stack in a short folder of its own, and leave nothing of it; yield its mark."""
    folder = Path(tempfile.mkdtemp(prefix="slc-", dir="/tmp"))
    setup = Setup(
        root=root,
        spec=simulated_spec(plan.replicas),
        model=model,
        folder=folder,
        log_file=folder / "commands.log",
        peer_packages=folder,
        timeout_s=_START_S,
    )
    stack = SluiceStack(setup)
    try:
        stack.start()
        yield stack.stack_id
    finally:
        with undisturbed():
            say("stopping it")
            stack.stop()
            shutil.rmtree(folder, ignore_errors=True)


def read_stack(stack_id: str) -> list[Reading]:
    """Read the processes of a stack, as far as they live."""
    return [
        Reading(
            pid=seen.pid,
            began=seen.began,
            command=seen.command,
            cpu_s=seen.own_s + seen.reaped_s,
            wakes=_wakes(_PROC / str(seen.pid)),
        )
        for seen in stack_processes(stack_id)
    ]


def _wakes(folder: Path) -> int:
    """Return how often a process's threads went to sleep.

    Source: proc_pid_status(5), field voluntary_ctxt_switches of each thread.
    """
    wakes = 0
    with suppress(FileNotFoundError, ProcessLookupError):
        for thread in (folder / "task").iterdir():
            with suppress(FileNotFoundError, ProcessLookupError):
                wakes += parse_wakes((thread / "status").read_text(errors="replace"))
    return wakes


def parse_wakes(status: str) -> int:
    """Read the count from a /proc/<pid>/status; 0 where the kernel keeps none."""
    for line in status.splitlines():
        if line.startswith(_SLEPT):
            return int(line.removeprefix(_SLEPT))
    return 0
