"""`./sluice bench chaos`: run it, say what happens meanwhile, and judge."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Final, TypeVar

from rich.table import Table

from libs.engine.default_model import make_ready
from libs.engine.memory import available_memory_bytes
from tools.bench.chaos.clients import SLOW, Pace
from tools.bench.chaos.faults import Fault, catalogue
from tools.bench.chaos.outcomes import Ending
from tools.bench.chaos.plan import ChaosPlan
from tools.bench.chaos.result import ChaosResult, StepResult
from tools.bench.chaos.run import run_chaos
from tools.bench.chaos.world import Say, World, chaos_world, keep_logs
from tools.bench.compare.run import simulated_spec
from tools.bench.view import View
from tools.cli.stack.programs import LOGICAL_SLOTS
from tools.cli.stack.replicas import require_room

INTERRUPTED: Final = 128 + signal.SIGINT
_PROBLEMS_SHOWN: Final = 50

Result = TypeVar("Result")


def chaos_command(plan: ChaosPlan, view: View, *, models: Path, logs: Path) -> int:
    """Run a plan on a stack of its own and return the exit code.

    Where something did not hold, the stack's logs are kept in `logs`.

    0: everything held; 1: something did not; 130: interrupted before anything was found.

    Raises:
        UsageError: this machine has no room for so many replicas.
        ControlPlaneError: the stack did not start.
    """

    def say(text: str) -> None:
        view.err.print(text, markup=False, highlight=False)

    async def work(world: World, stop: asyncio.Event) -> ChaosResult:
        found = await run_chaos(plan, world, say=say, stop=stop)
        if found.problems:
            keep_logs(world, logs)
            say(f"the stack's logs are in {logs}")
        return found

    result = on_a_stack(plan.replicas, work, models=models, say=say)
    show(result, view)
    if result.exit_code == 0 and result.interrupted:
        return INTERRUPTED
    return result.exit_code


def on_a_stack(
    replicas: int,
    work: Callable[[World, asyncio.Event], Coroutine[None, None, Result]],
    *,
    models: Path,
    say: Say,
    pace: Pace = SLOW,
) -> Result:
    """Start a stack, work on it, stop it; a first Ctrl-C sets the event.

    Raises:
        UsageError: this machine has no room for so many replicas.
        ControlPlaneError: the stack did not start.
    """
    room = [simulated_spec(replicas + 1)]
    require_room(room, slots=LOGICAL_SLOTS, available_bytes=available_memory_bytes())
    make_ready(models, say)
    # Also where a script's `&` has made this program deaf to Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with chaos_world(replicas, models=models, say=say, pace=pace) as world:
        return asyncio.run(_until_told(lambda stop: work(world, stop)))


async def _until_told(work: Callable[[asyncio.Event], Coroutine[None, None, Result]]) -> Result:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    return await work(stop)


def show(result: ChaosResult, view: View) -> None:
    """Print the result, and everything that did not hold."""
    if view.as_json:
        print(json.dumps(result.to_json(), indent=2))
    else:
        view.out.print(table_of(result))
    for words in result.skipped:
        view.err.print(f"skipped: {words}", markup=False)
    problems = result.problems
    for words in problems[:_PROBLEMS_SHOWN]:
        view.err.print(f"PROBLEM: {words}", markup=False, highlight=False)
    if len(problems) > _PROBLEMS_SHOWN:
        view.err.print(f"and {len(problems) - _PROBLEMS_SHOWN} more; --json has all")
    endings = result.endings()
    failed = result.ledger.requests - endings[Ending.WHOLE]
    view.err.print(
        f"seed {result.seed}: {len(result.steps)} steps in {result.seconds:.0f} s,"
        f" {result.ledger.requests} requests, {failed} failed,"
        f" {len(result.wrongly_failed)} of them without a reason;"
        f" status asked {result.asked} times; {len(problems)} problems"
    )


def show_faults(view: View) -> None:
    """Print every fault there is."""
    if view.as_json:
        print(json.dumps([fault_json(each) for each in catalogue()], indent=2))
        return
    table = Table("fault", "may cost", "right again within", box=None, pad_edge=False)
    for each in catalogue():
        table.add_row(each.name, each.cost.value, f"{each.bound_s:g} s")
    view.out.print(table)


def fault_json(fault: Fault) -> dict[str, object]:
    """Return plain values."""
    return {"name": fault.name, "cost": fault.cost.name.lower(), "bound_s": fault.bound_s}


def table_of(result: ChaosResult) -> Table:
    """Return the steps for a person."""
    table = Table(box=None, pad_edge=False)
    table.add_column("fault")
    table.add_column("right again after", justify="right")
    table.add_column("allowed", justify="right")
    table.add_column("replicas replaced", justify="right")
    table.add_column("")
    for each in result.steps:
        table.add_row(*_row(each))
    return table


def _row(step: StepResult) -> tuple[str, ...]:
    after_s = step.right_after_s
    return (
        step.name,
        "never" if after_s is None else f"{after_s:.1f} s",
        f"{step.bound_s:g} s",
        str(len(step.incident.lost)),
        "[red]![/]" if step.faults else "",
    )
