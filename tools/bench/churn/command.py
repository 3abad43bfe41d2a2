"""`./sluice bench churn`: run it, show a bar meanwhile and a table afterwards."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from libs.errors import ControlPlaneError
from tools.bench.churn.edges import Edge
from tools.bench.churn.plan import ChurnPlan
from tools.bench.churn.result import ChurnResult, milliseconds
from tools.bench.churn.run import Standing, run_churn
from tools.bench.join import percentile
from tools.bench.view import View

INTERRUPTED: Final = 128 + signal.SIGINT


def churn_command(
    plan: ChurnPlan, view: View, *, edge: Callable[[], AbstractAsyncContextManager[Edge]]
) -> int:
    """Run a plan at an edge and return the exit code.

    0: nobody noticed anything; 1: somebody did; 130: interrupted before its end.

    Raises:
        ControlPlaneError: the edge did not start or is not there.
    """
    with progress_bar(plan, view.err) as tell:
        try:
            result = asyncio.run(_run(plan, edge, tell))
        except* ControlPlaneError as group:
            raise _first(group) from group
    show(result, view)
    if result.exit_code == 0 and result.interrupted:
        return INTERRUPTED
    return result.exit_code


async def _run(
    plan: ChurnPlan,
    edge: Callable[[], AbstractAsyncContextManager[Edge]],
    tell: Callable[[Standing], None],
) -> ChurnResult:
    """Turn the first Ctrl-C into an early end; the second one ends at once."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def heard(number: signal.Signals) -> None:
        stop.set()
        loop.remove_signal_handler(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, heard, number)
    async with edge() as running:
        return await run_churn(plan, running, tell=tell, stop=stop)


@contextmanager
def progress_bar(plan: ChurnPlan, console: Console) -> Iterator[Callable[[Standing], None]]:
    """Show a bar on a terminal while the body runs; elsewhere show nothing."""
    columns = (TextColumn("churn"), BarColumn(), TextColumn("{task.fields[said]}"))
    shown = console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=not shown) as bar:
        task = bar.add_task("churn", total=plan.cycles, said="starting")

        def tell(now: Standing) -> None:
            failed = f"  [red]{now.failed} failed[/]" if now.failed else ""
            said = f"{now.cycles} of {plan.cycles} cycles  {now.requests} requests{failed}"
            bar.update(task, completed=now.cycles, said=said)

        yield tell


def show(result: ChurnResult, view: View) -> None:
    """Print the result, and what is to be said about it."""
    if view.as_json:
        print(json.dumps(result.to_json(), indent=2))
    else:
        view.out.print(table_of(result))
    if result.interrupted:
        view.err.print("interrupted: this is what was seen so far")
    for problem in result.problems:
        view.err.print(f"ended early: {problem}", markup=False)
    for reason in result.clients_late:
        view.err.print(f"warning: the clients were the limit: {reason}", markup=False)


def table_of(result: ChurnResult) -> Table:
    """Return the result for a person."""
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column()
    for name, text in _facts(result):
        table.add_row(name, text)
    return table


def _facts(result: ChurnResult) -> Iterator[tuple[str, str]]:
    counts, long = result.counts, result.long_stream
    yield "cycles", f"{result.cycles} joins and leaves in {result.duration_s:.1f} s"
    yield (
        "requests",
        (
            f"{counts.requests}: {counts.failed} failed, {counts.truncated} truncated, "
            f"{counts.slow} slow"
        ),
    )
    for kind, number in counts.errors.items():
        example = next(iter(result.error_examples.get(kind, [])), "").replace("\n", " ")
        yield "  " + kind, f"{number}  {example}"
    yield "join to routable", _times(result.joins_s)
    yield "leave to idle", _times(result.leaves_s)
    yield "reloads", "unknown" if result.reloads is None else f"{result.reloads}"
    whole = "whole" if long.is_whole else f"NOT whole: {long.fault}"
    yield "long stream", f"{whole}, {long.tokens} tokens in {long.duration_s:.1f} s"


def _times(values: Sequence[float]) -> str:
    if not values:
        return "unknown"
    named = (("p50", 50), ("p99", 99), ("max", 100))
    return ", ".join(f"{name} {milliseconds(percentile(values, rank))}" for name, rank in named)


def _first(group: BaseExceptionGroup[ControlPlaneError]) -> ControlPlaneError:
    """Return one error of a group of tasks: a person gets one line."""
    found: BaseException = group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found if isinstance(found, ControlPlaneError) else ControlPlaneError(repr(found))
