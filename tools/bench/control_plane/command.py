"""`./sluice bench control-plane`: run it, and print what each step took."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import Final

from rich.table import Table

from tools.bench.control_plane.result import GOALS_S, Medians, Result, Step
from tools.bench.control_plane.run import run
from tools.bench.control_plane.size import Size
from tools.bench.view import View

HELD: Final = 0
MISSED: Final = 1

_TITLES: Final = {
    Step.FROM_NOTHING: "everything, from nothing",
    Step.NOTHING_TO_DO: "a look that finds nothing to do",
    Step.JOIN: "one replica joins",
    Step.LEAVE: "one replica begins to leave",
    Step.NEW_NAME: "one name more",
    Step.LOST_NAME: "one name less",
}


def control_plane_command(size: Size, view: View, *, rounds: int, changes: int) -> int:
    """Measure, print and return the exit code: 0 when every goal was held, else 1.

    Raises:
        ControlPlaneError: a peer did not start, or HAProxy did not take what it was given.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with view.err.status("starting") as status:
        result = asyncio.run(run(size, rounds=rounds, changes=changes, tell=status.update))
    if view.as_json:
        print(json.dumps(result.to_json(), indent=2))
    else:
        view.out.print(table_of(result))
    for step in result.missed:
        view.err.print(f"not within {GOALS_S[step] * 1000:g} ms: {_TITLES[step]}")
    return MISSED if result.missed else HELD


def table_of(result: Result) -> Table:
    """Return the medians for a person."""
    size = result.size
    title = (
        f"{size.replicas} replicas ({size.servers} servers), {size.models} models,"
        f" {size.names} names: medians in ms"
    )
    table = Table(title=title, title_justify="left")
    table.add_column("step")
    for column in ("runs", "wall", "slowest", "router-config CPU", "HAProxy CPU", "goal"):
        table.add_column(column, justify="right")
    for step, found in result.medians().items():
        table.add_row(_TITLES[step], *_cells(step, found))
    return table


def _cells(step: Step, found: Medians) -> tuple[str, ...]:
    seconds = (found.wall_s, found.wall_max_s, found.python_s, found.haproxy_s)
    goal = f"{GOALS_S[step] * 1000:g}" if step in GOALS_S else ""
    return (str(found.runs), *(f"{value * 1000:.1f}" for value in seconds), goal)
