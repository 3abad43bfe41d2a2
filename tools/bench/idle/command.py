"""`./sluice bench idle`: measure a stack at rest, and show what each kind of process costs."""

from __future__ import annotations

import json
import signal
from pathlib import Path

from rich.table import Table

from libs.engine.default_model import make_ready
from libs.engine.memory import available_memory_bytes
from tools.bench.compare.run import simulated_spec
from tools.bench.idle.costs import IdleCost
from tools.bench.idle.run import IdlePlan, measure_idle
from tools.bench.view import View
from tools.cli.stack.programs import LOGICAL_SLOTS
from tools.cli.stack.replicas import require_room


def idle_command(plan: IdlePlan, view: View, *, root: Path, models: Path) -> None:
    """Measure and show.

    Raises:
        UsageError: this machine has no room for so many replicas.
        ControlPlaneError: the stack did not start, or ended.
    """

    def say(text: str) -> None:
        view.err.print(text, markup=False)

    specs = [simulated_spec(plan.replicas)]
    require_room(specs, slots=LOGICAL_SLOTS, available_bytes=available_memory_bytes())
    # Also where a script's `&` has made this program deaf to Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    found = measure_idle(plan, root=root, model=make_ready(models, say), say=say)
    if view.as_json:
        print(json.dumps(found.to_json(), indent=2))
        return
    view.out.print(table_of(found))


def table_of(found: IdleCost) -> Table:
    """Return what was measured, for a person."""
    title = f"an idle stack of {found.replicas} replicas, over {found.seconds:.0f} s"
    table = Table(title=title, title_justify="left", show_footer=True)
    table.add_column("part", footer="all")
    processes = sum(each.processes for each in found.parts)
    table.add_column("processes", footer=str(processes), justify="right")
    table.add_column("CPUs", footer=f"{found.cpus:.3f}", justify="right")
    table.add_column("wake-ups a second", footer=f"{found.wakes_per_s:,.0f}", justify="right")
    for each in found.parts:
        figures = (str(each.processes), f"{each.cpus:.4f}", f"{each.wakes_per_s:,.0f}")
        table.add_row(each.part.value, *figures)
    return table
