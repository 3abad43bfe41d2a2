"""What `bench edge` and `bench disconnect` send and make of their figures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from libs.contracts.lease import FrontEnd
from libs.errors import UsageError
from tools.bench.disconnect.measure import DisconnectPlan, DisconnectReport
from tools.bench.edge.cases import (
    CASES,
    KEY,
    NUMBER,
    TURNS,
    EdgePlan,
    config_in,
    plain,
    request,
    split_conversation,
    with_key,
)
from tools.bench.edge.command import ratio, table_of
from tools.bench.edge.run import CaseCost

CONFIG = config_in(Path("/run/x"), 8080)


@pytest.mark.parametrize("body_bytes", [256, 4096, 100_000])
def test_a_request_has_the_length_that_was_asked_for(body_bytes: int) -> None:
    """Its model comes after its messages."""
    head, _, body = request(plain(CONFIG, 1), body_bytes=body_bytes).partition(b"\r\n\r\n")

    assert len(body) == body_bytes
    assert body.count(NUMBER) == 1
    assert f"content-length: {body_bytes}".encode() in head
    assert list(json.loads(body)) == ["messages", "model"]


def test_a_conversation_has_as_many_bytes_in_more_messages() -> None:
    """So that the two differ in their quotation marks alone."""
    case = split_conversation(CONFIG, 1)

    body = request(case, body_bytes=4096).partition(b"\r\n\r\n")[2]

    assert len(body) == 4096
    assert len(json.loads(body)["messages"]) == TURNS


def test_only_the_case_with_a_key_sends_one() -> None:
    """Its configuration asks for it."""
    sent = [KEY.encode() in request(make(CONFIG, 1), body_bytes=512) for make in CASES]

    assert sent == [make is with_key for make in CASES]


@pytest.mark.parametrize("wrong", [{"body_bytes": 255}, {"body_bytes": 10**6}, {"requests": 5}])
def test_a_plan_out_of_bounds_is_refused(wrong: dict[str, int]) -> None:
    """With the option's name."""
    with pytest.raises(UsageError, match="--"):
        EdgePlan(**wrong)


def test_costs_are_compared_within_a_round() -> None:
    """With a plain proxy, and with one that has the same options: the middle of all rounds."""
    costs = [
        CaseCost(name="plain", cpu_us=(10.0, 30.0, 20.0)),
        CaseCost(name="options", cpu_us=(25.0, 25.0, 25.0)),
        CaseCost(name="rules", cpu_us=(50.0, 45.0, 80.0)),
    ]

    assert ratio(costs[2], costs[0]) == 4.0
    assert table_of(costs, EdgePlan()).row_count == 3


def test_the_slowest_of_fifty_is_the_ninety_ninth_percentile() -> None:
    """By nearest rank, so a single outlier shows."""
    report = DisconnectReport(
        front_end=FrontEnd.RUST, stopped_ms=(*(5.0,) * 49, 80.0), running_after=0
    )

    assert (report.p50_ms, report.p99_ms) == (5.0, 80.0)
    assert report.to_json()["trials"] == 50


def test_a_step_out_of_bounds_is_refused() -> None:
    """With the option's name."""
    with pytest.raises(UsageError, match="--step-ms"):
        DisconnectPlan(step_time_s=0.0001)


@pytest.mark.parametrize("step_time_s", [0.001, 0.005, 0.2, 1.0])
def test_the_time_between_two_tokens_does_not_count_as_stopped(step_time_s: float) -> None:
    """A slow device is still for a whole step while it works."""
    assert DisconnectPlan(step_time_s=step_time_s).still_s >= 2 * step_time_s
