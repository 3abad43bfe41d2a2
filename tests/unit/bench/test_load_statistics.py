"""Figures follow from samples by their definitions.

Invariants: a quantile is a sample, with at least its share of the samples at or below it and no
smaller one with that property; every measured request is either ok or failed, under one kind.
"""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.bench.load import statistics
from tools.bench.load.plan import ClosedLoop, LoadPlan, Slo, Target
from tools.bench.load.samples import Ledger, Outcome, Row, Samples, Window, freeze, merge

WINDOW = Window(start_s=10.0, end_s=20.0)
PLAN = LoadPlan(target=Target(url="http://t", model="m"), arrivals=ClosedLoop(clients=1))
ROW = Row(
    intended_s=11.0,
    started_s=11.0,
    sent_s=11.0,
    first_s=11.5,
    last_s=12.5,
    end_s=12.75,
    asked_tokens=5,
    prompt_tokens=3,
    output_tokens=5,
    text_events=5,
    window_events=5,
    outcome=Outcome.OK,
    status=200,
)
ROWS = st.builds(
    replace,
    st.just(ROW),
    intended_s=st.floats(0, 30),
    end_s=st.floats(0, 60),
    outcome=st.sampled_from(Outcome),
    status=st.sampled_from([0, 200, 429, 503]),
)


def samples(*rows: Row, gaps: tuple[float, ...] = ()) -> Samples:
    """Return the samples of these rows."""
    ledger = Ledger(window=WINDOW)
    for row in rows:
        ledger.write(row)
    ledger.gaps.extend(gaps)
    return freeze(ledger)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=300))
def test_a_quantile_is_the_smallest_sample_with_its_share_below(values: list[float]) -> None:
    """Nothing between two samples is invented."""
    found = statistics.quantiles(np.array(values))

    assert found is not None
    for rank, value in ((0.5, found.p50_s), (0.9, found.p90_s), (0.99, found.p99_s)):
        at_or_below = sum(each <= value for each in values)
        below = sum(each < value for each in values)
        assert value in values
        assert at_or_below >= rank * len(values) - 1e-6
        assert below < rank * len(values)
    assert (found.min_s, found.max_s) == (min(values), max(values))
    assert list(found.curve) == sorted(found.curve)


def test_no_sample_has_no_quantiles() -> None:
    """Missing is not zero."""
    assert statistics.quantiles(np.array([math.nan])) is None


def test_a_hundred_values_have_their_ranks() -> None:
    """The textbook case, which rounding must not shift by one."""
    found = statistics.quantiles(np.arange(1.0, 101.0))

    assert found is not None
    assert (found.p50_s, found.p90_s, found.p99_s, found.p999_s) == (50, 90, 99, 100)


@given(st.lists(ROWS, max_size=40))
def test_every_measured_request_is_ok_or_failed_under_one_kind(rows: list[Row]) -> None:
    """Interrupted ones are neither."""
    taken = samples(*rows)

    counts = statistics.request_counts(taken, PLAN, WINDOW)

    assert counts.ok + counts.failed == counts.measured
    assert sum(statistics.error_counts(taken, WINDOW).values()) == counts.failed
    assert counts.measured + counts.warmup <= len(rows)


def test_latency_counts_from_the_intended_time() -> None:
    """A request that went out late waited, whoever made it wait."""
    late = replace(ROW, intended_s=10.5, started_s=11.0, sent_s=11.0)

    found = statistics.latency(samples(late, gaps=(0.25, 0.25)), WINDOW)

    assert found.ttft is not None
    assert found.e2e is not None
    assert found.tpot is not None
    assert (found.ttft.p50_s, found.e2e.p50_s, found.tpot.p50_s) == (1.0, 2.25, 0.25)


def test_the_warm_up_and_failures_have_no_latency() -> None:
    """They are counted, elsewhere."""
    warm, failed = replace(ROW, intended_s=9.9), replace(ROW, outcome=Outcome.TIMEOUT)

    found = statistics.latency(samples(warm, failed), WINDOW)

    assert found.ttft is None
    assert found.e2e is None


def test_rates_count_what_arrived_inside_the_window() -> None:
    """An answer of the warm-up that ends in the window brings its tokens of the window."""
    across = replace(ROW, intended_s=9.0, window_events=2)
    beyond = replace(ROW, window_events=3, end_s=21.0)

    found = statistics.throughput(samples(across, beyond), WINDOW)

    assert found.tokens_per_s == pytest.approx(0.5)
    assert found.requests_per_s == pytest.approx(0.1)
    assert found.offered_per_s == pytest.approx(0.1)


def test_chunks_with_several_tokens_count_by_the_server_usage() -> None:
    """Engines put tokens together when a client is slow."""
    merged = replace(ROW, text_events=2, window_events=1, output_tokens=10)

    found = statistics.throughput(samples(merged), WINDOW)

    assert found.tokens_per_s == pytest.approx(0.5)
    assert found.counted_by == "usage"


def test_a_server_without_usage_is_counted_by_chunks() -> None:
    """And the result says so."""
    found = statistics.throughput(samples(replace(ROW, output_tokens=math.nan)), WINDOW)

    assert found.counted_by == "chunks"
    assert found.tokens_per_s == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("slo", "ratio"),
    [
        (Slo(ttft_s=0.5), 0.5),
        (Slo(ttft_s=0.4), 0.0),
        (Slo(ttft_s=0.5, itl_s=0.25), 0.5),
        (Slo(itl_s=0.24), 0.0),
    ],
)
def test_goodput_counts_failures_as_bad(slo: Slo, ratio: float) -> None:
    """Half of these two requests failed."""
    failed = replace(ROW, outcome=Outcome.HTTP_ERROR, status=503)

    found = statistics.goodput(samples(ROW, failed), slo, WINDOW)

    assert found is not None
    assert found.ratio == ratio


def test_short_answers_are_told_where_exact_ones_were_asked() -> None:
    """A server that ends early gives good latencies."""
    found = statistics.request_counts(samples(replace(ROW, output_tokens=2)), PLAN, WINDOW)

    assert found.short == 1


@given(st.lists(st.lists(ROWS, max_size=5), min_size=1, max_size=4))
def test_merged_samples_are_all_the_samples(parts: list[list[Row]]) -> None:
    """Several processes measure as one."""
    merged = merge([samples(*part, gaps=(1.0,)) for part in parts])

    assert len(merged.rows) == sum(map(len, parts))
    assert len(merged.gaps) == len(parts)


@given(st.lists(ROWS, max_size=20), st.floats(1, 2000))
def test_the_series_counts_every_end_once_in_few_points(rows: list[Row], over_s: float) -> None:
    """However long the run was."""
    inside = [replace(row, end_s=min(row.end_s, over_s)) for row in rows]

    found = statistics.series(samples(*inside), over_s)

    ended = (sum(found.done_per_s) + sum(found.failed_per_s)) * found.bin_s
    assert ended == pytest.approx(sum(row.outcome != Outcome.INTERRUPTED for row in rows))
    assert len(found.done_per_s) <= statistics.SERIES_POINTS_MAX
