"""What a churn run says, and when it counts as good.

Invariant: anything that a client could notice makes the exit code 1.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.contracts.ids import EdgeId
from libs.contracts.reports import RoutingStatus
from tools.bench.churn.result import (
    ChurnResult,
    LongStreamResult,
    RequestCounts,
    reloads_between,
)

WHOLE = LongStreamResult(is_whole=True, status=200, tokens=9, duration_s=9.0)
GOOD = ChurnResult(
    cycles=3,
    duration_s=9.0,
    counts=RequestCounts(requests=10),
    joins_s=(0.03, 0.01, 0.02),
    leaves_s=(1.0, 0.5),
    reloads=0,
    long_stream=WHOLE,
)
STATUS = RoutingStatus(
    edge_id=EdgeId("edge"),
    revision=5,
    applied_at=1.0,
    haproxy_version="3.0",
    haproxy_pid=100,
    reloads=2,
    servers_ready=4,
)


def test_a_run_that_nobody_noticed_is_good() -> None:
    """Slow requests are told, and are no failure."""
    slow = replace(GOOD, counts=RequestCounts(requests=10, slow=4))

    assert (GOOD.exit_code, slow.exit_code) == (0, 0)


@pytest.mark.parametrize(
    "found",
    [
        replace(GOOD, counts=RequestCounts(requests=10, failed=1)),
        replace(GOOD, counts=RequestCounts(requests=10, truncated=1)),
        replace(GOOD, reloads=1),
        replace(GOOD, reloads=None),
        replace(GOOD, problems=("a join: too late",)),
        replace(GOOD, long_stream=replace(WHOLE, is_whole=False)),
    ],
)
def test_whatever_somebody_noticed_is_bad(found: ChurnResult) -> None:
    """Reloads that nobody could count are not zero."""
    assert found.exit_code == 1


def test_json_has_the_keys_of_the_comparison() -> None:
    """Percentiles are values that were measured; None where nothing was."""
    found = GOOD.to_json()
    empty = replace(GOOD, joins_s=(), leaves_s=()).to_json()

    assert found["cycles"] == 3
    assert (found["requests"], found["failed"], found["truncated"]) == (10, 0, 0)
    assert (found["slow"], found["reloads"], found["long_stream_whole"]) == (0, 0, True)
    assert (found["join_to_routable_p50_s"], found["join_to_routable_p99_s"]) == (0.02, 0.03)
    assert (found["leave_to_idle_p50_s"], found["leave_to_idle_p99_s"]) == (0.5, 1.0)
    assert empty["join_to_routable_p99_s"] is None


@pytest.mark.parametrize(("status", "failed", "truncated"), [(200, 0, 1), (503, 1, 0), (0, 1, 0)])
def test_a_broken_long_stream_is_one_bad_request(status: int, failed: int, truncated: int) -> None:
    """With status 200 it was truncated, else it failed."""
    found = replace(WHOLE, is_whole=False, status=status).counts()

    assert (found.requests, found.failed, found.truncated) == (1, failed, truncated)
    assert WHOLE.counts() == RequestCounts(requests=1)


counts = st.builds(
    RequestCounts,
    requests=st.integers(0, 99),
    failed=st.integers(0, 9),
    truncated=st.integers(0, 9),
    slow=st.integers(0, 9),
    errors=st.dictionaries(st.sampled_from(("http_503", "reset")), st.integers(1, 9)),
)


@given(counts, counts)
def test_counts_add_up(one: RequestCounts, other: RequestCounts) -> None:
    """Nothing is lost, errors by kind included."""
    both = one.plus(other)

    assert both == other.plus(one)
    assert both.failed == one.failed + other.failed
    assert sum(both.errors.values()) == sum(one.errors.values()) + sum(other.errors.values())


def test_reloads_are_those_of_the_run() -> None:
    """A HAProxy that ended and was started again counts as one; silence is unknown."""
    reloaded = replace(STATUS, reloads=4, haproxy_pid=102)
    restarted = replace(STATUS, haproxy_pid=101)

    assert reloads_between(STATUS, STATUS) == 0
    assert reloads_between(STATUS, reloaded) == 2
    assert reloads_between(STATUS, restarted) == 1
    assert reloads_between(STATUS, None) is None
