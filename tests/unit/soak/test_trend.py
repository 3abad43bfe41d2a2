"""Whether a series grows.

Invariants: a constant series does not; a steady rise above what is allowed does, whatever noise
lies on it; a jump, a wave and single outliers do not.
"""

import math
import random

from hypothesis import given
from hypothesis import strategies as st

from tools.bench.soak.trend import SAMPLES_MIN, Allowed, Sample, trend_of

ALLOWED = Allowed(ratio=0.05, amount=10.0)


def series(*values: float) -> list[Sample]:
    """Return samples half a minute apart."""
    return [Sample(at_s=30.0 * at, value=value) for at, value in enumerate(values)]


def grows(samples: list[Sample]) -> bool:
    """Tell whether a series of enough samples grows more than is allowed."""
    trend = trend_of(samples)
    assert trend is not None
    return trend.exceeds(ALLOWED)


@given(st.floats(0, 1e9), st.integers(SAMPLES_MIN, 500))
def test_what_stays_the_same_does_not_grow(value: float, number: int) -> None:
    """At any level, however long."""
    assert not grows(series(*[value] * number))


@given(st.integers(0, 1000), st.integers(30, 300))
def test_a_steady_rise_is_seen_through_noise(seed: int, number: int) -> None:
    """A leak of a fifth of the level over the run, under noise of a fiftieth."""
    source = random.Random(seed)
    values = [1000 + 200 * at / number + source.uniform(-20, 20) for at in range(number)]

    assert grows(series(*values))


@given(st.integers(0, 1000), st.integers(30, 300))
def test_noise_alone_does_not_grow(seed: int, number: int) -> None:
    """However it falls."""
    source = random.Random(seed)

    assert not grows(series(*[1000 + source.uniform(-20, 20) for _ in range(number)]))


def test_a_jump_is_no_growth() -> None:
    """A cache has filled once."""
    assert not grows(series(*[100.0] * 20, *[200.0] * 40))


def test_a_wave_is_no_growth() -> None:
    """Memory that is taken and given back."""
    assert not grows(series(*[100 + 50 * math.sin(at) for at in range(60)]))


def test_outliers_are_no_growth() -> None:
    """One sample in ten is far off."""
    assert not grows(series(*[900.0 if at % 10 == 9 else 100.0 for at in range(60)]))


def test_a_small_rise_is_allowed() -> None:
    """Below the amount, or below the share of a large level."""
    assert not grows(series(*[10 + at / 10 for at in range(60)]))
    assert not grows(series(*[10_000 + at for at in range(60)]))


def test_too_few_samples_say_nothing() -> None:
    """A minute says nothing about an hour."""
    assert trend_of(series(*range(SAMPLES_MIN - 1))) is None


def test_the_trend_is_told_over_the_whole_run() -> None:
    """In the series' own unit."""
    trend = trend_of(series(*range(61)))

    assert trend is not None
    assert trend.growth == 60.0
    assert trend.level == 30.0
    assert trend.rises
