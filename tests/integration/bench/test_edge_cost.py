"""`bench edge` with a few requests: every configuration answers, and costs something."""

from __future__ import annotations

from tools.bench.edge.cases import CASES, EdgePlan
from tools.bench.edge.run import measure_edge


def test_every_configuration_answers_every_request() -> None:
    """An answer that is not 200 would end the run."""
    plan = EdgePlan(requests=64, rounds=2, clients=4)
    told: list[str] = []

    costs = measure_edge(plan, told.append)

    assert len(costs) == len(CASES)
    assert all(len(cost.cpu_us) == 2 and min(cost.cpu_us) > 0 for cost in costs)
    assert told == ["warming up", "round 1 of 2", "round 2 of 2"]
