"""What a user may ask of a churn run, and what its clients then do."""

from __future__ import annotations

import pytest

from libs.errors import UsageError
from tools.bench.churn.clients import load_plan
from tools.bench.churn.plan import ChurnPlan
from tools.bench.load.plan import ClosedLoop


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("cycles", 0),
        ("clients", 0),
        ("replicas", 65),
        ("pace_s", -1.0),
        ("output_tokens", 0),
        ("token_s", 0.0),
        ("slow_s", float("nan")),
    ],
)
def test_a_value_out_of_its_bounds_is_named_as_its_option(option: str, value: float) -> None:
    """One line that says which option, and what it may be."""
    named = option.replace("_", "-")

    with pytest.raises(UsageError, match=f"--{named} must be from"):
        ChurnPlan(**{option: value})  # type: ignore[arg-type] # the values are of many types


def test_clients_stream_as_long_as_nobody_stops_them() -> None:
    """The threshold of slowness is their SLO, and an answer has time to be slow."""
    plan = ChurnPlan(clients=7, output_tokens=30, token_s=0.1, slow_s=0.5)

    found = load_plan(plan, api_url="http://127.0.0.1:1", model="m")

    assert found.arrivals == ClosedLoop(clients=7)
    assert found.slo.ttft_s == 0.5
    assert found.target.stream
    assert found.extent.requests is None
    assert found.patience.request_s > plan.answer_s == 3.0
