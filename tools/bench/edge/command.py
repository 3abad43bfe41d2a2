"""`./sluice bench edge`: run the plan, show what every case costs."""

from __future__ import annotations

import json
from dataclasses import asdict
from statistics import median

from rich.table import Table

from tools.bench.edge.cases import EdgePlan
from tools.bench.edge.run import CaseCost, measure_edge
from tools.bench.view import View


def edge_command(plan: EdgePlan, view: View) -> None:
    """Measure and show.

    Raises:
        PeerUnreachableError: a HAProxy did not start, or did not answer every request.
    """
    with view.err.status("starting") as status:
        costs = measure_edge(plan, status.update)
    if view.as_json:
        cases = [
            {
                "name": cost.name,
                "cpu_us_median": round(cost.median_us, 2),
                "cpu_us": [round(each, 2) for each in cost.cpu_us],
                "of_plain": round(ratio(cost, costs[0]), 3),
                "of_options": round(ratio(cost, costs[1]), 3),
            }
            for cost in costs
        ]
        print(json.dumps({"plan": asdict(plan), "cases": cases}, indent=2))
        return
    view.out.print(table_of(costs, plan))


def ratio(cost: CaseCost, other: CaseCost) -> float:
    """Return a case's cost against another's in the same round, the middle of all rounds."""
    both = zip(cost.cpu_us, other.cpu_us, strict=True)
    return median(mine / theirs if theirs else float("inf") for mine, theirs in both)


def table_of(costs: list[CaseCost], plan: EdgePlan) -> Table:
    """Return what was measured, for a person; the first two rows are what ratios refer to."""
    title = f"HAProxy's CPU for one request of {plan.body_bytes} bytes, {plan.rounds} rounds"
    table = Table(title=title, title_justify="left")
    table.add_column("edge")
    for column in ("median us", "least us", "most us", "of plain", "of options"):
        table.add_column(column, justify="right")
    for cost in costs:
        figures = (cost.median_us, min(cost.cpu_us), max(cost.cpu_us))
        cells = [f"{each:.1f}" for each in figures]
        ratios = (ratio(cost, costs[0]), ratio(cost, costs[1]))
        table.add_row(cost.name, *cells, *(f"{each:.2f}" for each in ratios))
    return table
