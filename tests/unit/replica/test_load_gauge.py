"""An engine's load out of its reports.

Invariants: nothing is known before the first report and after a long silence; tokens are counted
once, however reports and readings alternate.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.replica.domain.load import UNKNOWN_LOAD
from services.replica.domain.load_gauge import STALE_AFTER_S, EngineTotals, LoadGauge

TOTALS = EngineTotals(
    running=2,
    waiting=1,
    kv_cache_usage_ratio=0.25,
    generated_tokens=100,
    prefix_queried_tokens=40,
    prefix_hit_tokens=10,
    ttfts_s=(0.5,),
    lost_reports_count=0,
)


def test_nothing_is_known_before_the_first_report() -> None:
    """Missing is not zero."""
    assert LoadGauge(0.0).read(1.0) == UNKNOWN_LOAD


def test_a_report_is_the_load() -> None:
    """Sums begin with the engine."""
    gauge = LoadGauge(0.0)
    gauge.add(TOTALS, 1.0)

    load = gauge.read(2.0)

    assert (load.running, load.waiting, load.kv_cache_usage_ratio) == (2, 1, 0.25)
    assert (load.tokens_per_s, load.ttft_p50_s) == (50, 0.5)
    assert (load.prefix_cache_hit_ratio, load.lost_reports_count) == (0.25, 0)


def test_an_engine_core_that_falls_silent_is_unknown_until_it_speaks() -> None:
    """It reports every second even in a long step, so it is stuck."""
    gauge = LoadGauge(0.0)
    gauge.add(TOTALS, 1.0)

    assert gauge.read(1.0 + STALE_AFTER_S).running == 2
    assert gauge.read(1.1 + STALE_AFTER_S) == UNKNOWN_LOAD
    gauge.add(TOTALS, 9.0)
    assert gauge.read(9.5).running == 2


def test_a_sum_that_goes_back_counts_for_nothing() -> None:
    """Rates are never negative."""
    gauge = LoadGauge(0.0)
    gauge.add(TOTALS, 1.0)
    gauge.add(replace(TOTALS, generated_tokens=0), 2.0)

    assert gauge.read(2.0).tokens_per_s == 50


@given(st.lists(st.integers(0, 100), min_size=1, max_size=9))
def test_every_token_is_counted_once(grown: list[int]) -> None:
    """The rate times the window is what was generated."""
    gauge, total = LoadGauge(0.0), 0
    load = UNKNOWN_LOAD
    for second, tokens in enumerate(grown, start=1):
        total += tokens
        gauge.add(replace(TOTALS, generated_tokens=total), float(second))
        load = gauge.read(float(second))

    assert load.tokens_per_s is not None
    assert load.tokens_per_s * len(grown) == pytest.approx(total)
