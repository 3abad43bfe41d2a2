"""The load over a sliding window.

Invariants: tokens are counted once, whatever the slices; what was never said is unknown; counts
are the last ones said; the window is bounded.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.replica.domain.load import (
    TTFTS_PER_SLICE_MAX,
    WINDOW_SLICES,
    LoadTally,
    StepSample,
    new_window,
    summarise,
)

STEPS = st.builds(
    StepSample,
    running=st.none() | st.integers(0, 64),
    waiting=st.none() | st.integers(0, 64),
    generated_tokens=st.integers(0, 100),
    ttfts_s=st.lists(st.floats(0.001, 10), max_size=3).map(tuple),
)


def test_an_empty_window_knows_nothing() -> None:
    """Missing is not zero."""
    load = summarise(new_window())

    assert (load.running, load.waiting, load.kv_cache_usage_ratio) == (None, None, None)
    assert (load.ttft_p50_s, load.tokens_per_s) == (None, None)


def test_an_engine_that_said_nothing_has_unknown_counts_and_no_tokens() -> None:
    """The rate is known to be nothing, the counts are not."""
    tally, window = LoadTally(begin_s=0), new_window()
    window.append(tally.close(1.0))

    load = summarise(window)

    assert load.running is None
    assert load.tokens_per_s == 0


def test_counts_carry_over_a_slice_without_steps() -> None:
    """A long step says nothing for seconds; what runs still runs."""
    tally, window = LoadTally(begin_s=0), new_window()
    tally.add(StepSample(running=3, waiting=1, kv_cache_usage_ratio=0.5))
    window.append(tally.close(1.0))
    window.append(tally.close(2.0))

    load = summarise(window)

    assert (load.running, load.waiting, load.kv_cache_usage_ratio) == (3, 1, 0.5)


def test_a_sample_of_zero_replaces_a_larger_one() -> None:
    """Zero is a value."""
    tally, window = LoadTally(begin_s=0), new_window()
    tally.add(StepSample(running=3))
    tally.add(StepSample(running=0))
    window.append(tally.close(1.0))

    assert summarise(window).running == 0


def test_the_median_covers_the_whole_window() -> None:
    """First tokens of earlier seconds count."""
    tally, window = LoadTally(begin_s=0), new_window()
    for second, ttft_s in enumerate((0.1, 0.5, 0.2), start=1):
        tally.add(StepSample(ttfts_s=(ttft_s,)))
        window.append(tally.close(float(second)))

    assert summarise(window).ttft_p50_s == 0.2


@given(st.lists(st.lists(STEPS, max_size=5), min_size=1, max_size=WINDOW_SLICES))
def test_every_token_in_the_window_is_counted_once(seconds: list[list[StepSample]]) -> None:
    """The rate times the duration is the number of tokens."""
    tally, window = LoadTally(begin_s=0), new_window()
    for second, steps in enumerate(seconds, start=1):
        for step in steps:
            tally.add(step)
        window.append(tally.close(float(second)))

    rate = summarise(window).tokens_per_s

    tokens = sum(step.generated_tokens for steps in seconds for step in steps)
    assert rate is not None
    assert rate * len(seconds) == pytest.approx(tokens)


@given(st.integers(0, 50))
def test_the_window_forgets_what_is_older_than_its_length(idle_s: int) -> None:
    """A burst is gone after the window's length."""
    tally, window = LoadTally(begin_s=0), new_window()
    tally.add(StepSample(generated_tokens=1_000))
    for second in range(1, idle_s + 2):
        window.append(tally.close(float(second)))

    rate = summarise(window).tokens_per_s

    assert rate is not None
    assert (rate == 0) is (idle_s >= WINDOW_SLICES)
    assert len(window) <= WINDOW_SLICES


def test_a_slice_keeps_a_bounded_number_of_first_tokens() -> None:
    """A storm of requests costs bounded memory."""
    tally = LoadTally(begin_s=0)
    for _ in range(10):
        tally.add(StepSample(ttfts_s=(0.1,) * TTFTS_PER_SLICE_MAX))

    assert len(tally.close(1.0).ttfts_s) == TTFTS_PER_SLICE_MAX
