"""`./sluice bench soak`: run it, say how it gets on, and judge."""

from __future__ import annotations

import json
from pathlib import Path

from rich.table import Table

from tools.bench.chaos.clients import FAST
from tools.bench.chaos.command import INTERRUPTED, on_a_stack
from tools.bench.soak.result import Series, SoakResult, shown
from tools.bench.soak.run import SoakPlan, run_soak
from tools.bench.view import View


def soak_command(plan: SoakPlan, view: View, *, models: Path) -> int:
    """Run a plan on a stack of its own and return the exit code.

    0: nothing grew and nothing failed; 1: something did; 130: interrupted before that was seen.

    Raises:
        UsageError: this machine has no room for so many replicas.
        ControlPlaneError: the stack did not start.
    """

    def say(text: str) -> None:
        view.err.print(text, markup=False, highlight=False)

    result = on_a_stack(
        plan.replicas,
        lambda world, stop: run_soak(plan, world, say=say, stop=stop),
        models=models,
        say=say,
        pace=FAST,
    )
    show(result, view)
    if result.exit_code == 0 and result.interrupted:
        return INTERRUPTED
    return result.exit_code


def show(result: SoakResult, view: View) -> None:
    """Print the result, and everything that did not hold."""
    if view.as_json:
        print(json.dumps(result.to_json(), indent=2))
    else:
        view.out.print(table_of(result))
    for words in result.problems:
        view.err.print(f"PROBLEM: {words}", markup=False, highlight=False)
    verdict = "something grows or failed" if result.problems else "nothing grows, nothing failed"
    view.err.print(
        f"{verdict}: {result.ledger.requests} requests and {result.turns} changes in"
        f" {result.seconds / 3600:.2f} h"
    )


def table_of(result: SoakResult) -> Table:
    """Return every series for a person."""
    table = Table(box=None, pad_edge=False)
    table.add_column("series")
    for name in ("level", "trend over the run", "allowed"):
        table.add_column(name, justify="right")
    table.add_column("")
    for each in result.series:
        table.add_row(*_row(each))
    return table


def _row(series: Series) -> tuple[str, ...]:
    if series.trend is None:
        return (series.name, "too few samples", "", "", "")
    return (
        series.name,
        shown(series.trend.level, series.unit),
        shown(series.trend.growth, series.unit),
        shown(series.allowed.over(series.trend.level), series.unit),
        "[red]grows[/]" if series.grows else "",
    )
