"""`./sluice bench executor`: measure, show each result as it comes, tell what has none."""

from __future__ import annotations

import json
import signal
from typing import Final

from rich.table import Table

from tools.bench.executor import CaseResult, ExecutorPlan, measure_executors
from tools.bench.executor_cpu import Role
from tools.bench.view import View

MEASURED: Final = 0
NOT_ALL: Final = 1
INTERRUPTED: Final = 128 + signal.SIGINT


def executor_command(plan: ExecutorPlan, view: View) -> int:
    """Measure every case and return the exit code.

    0: all were measured; 1: one was not; 130: interrupted, with what was measured before.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    results: list[CaseResult] = []
    interrupted = False
    with view.err.status("starting") as status:
        try:
            results.extend(measure_executors(plan, status.update))
        except KeyboardInterrupt:
            interrupted = True
    _show(plan, results, view)
    if interrupted:
        view.err.print("interrupted: this is what was measured so far")
        return INTERRUPTED
    return NOT_ALL if any(result.problem for result in results) else MEASURED


def _show(plan: ExecutorPlan, results: list[CaseResult], view: View) -> None:
    if view.as_json:
        cases = [result.to_json() for result in results]
        print(json.dumps({"step_time_s": plan.step_time_s, "cases": cases}, indent=2))
    else:
        view.out.print(table_of(results))
    for result in results:
        if result.problem:
            name = f"{result.kind}, tensor parallel {result.tensor_parallel_size}"
            view.err.print(f"{name}: {result.problem}", markup=False)


def table_of(results: list[CaseResult]) -> Table:
    """Return what was measured, for a person."""
    table = Table(title="Milliseconds a step", title_justify="left")
    for column in ("executor", "tp", "step", "device", "overhead", *(f"CPU {r}" for r in Role)):
        table.add_column(column, justify="left" if column == "executor" else "right")
    for result in results:
        times = (result.step_ms, result.device_ms, result.overhead_ms)
        cpu = (result.cpu_ms_per_step.get(role, 0.0) for role in Role)
        cells = [f"{value:.2f}" for value in (*times, *cpu)]
        shown = ["-" for _ in cells] if result.problem else cells
        table.add_row(str(result.kind), str(result.tensor_parallel_size), *shown)
    return table
