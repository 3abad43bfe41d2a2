"""Whether a series of samples grows (pure).

A series grows if its trend over the run is more than is allowed, and its thirds rise one after the
other: one jump, as of a cache that fills, or a wave is no growth.

Source of the trend: the Theil-Sen estimator, the median of the slopes between all pairs of samples
(Sen, 1968), which single outliers do not move.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median
from typing import Final

SAMPLES_MIN: Final = 9
_POINTS_MAX: Final = 240
"""All pairs of more points would take minutes; longer series are thinned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A value at a moment of the run, in seconds from its beginning."""

    at_s: float
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """How much a series may grow over the run: the larger of a share of it and an amount."""

    ratio: float
    amount: float

    def over(self, level: float) -> float:
        """Return the most that a series of this level may grow."""
        return max(self.ratio * level, self.amount)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """What a series did.

    Attributes:
        level: the median of the whole series.
        growth: the trend's rise from the first to the last sample.
        rises: each third's median is above the one before.
    """

    level: float
    growth: float
    rises: bool

    def exceeds(self, allowed: Allowed) -> bool:
        """Tell whether it grew more than it may."""
        return self.rises and self.growth > allowed.over(self.level)


def trend_of(samples: Sequence[Sample]) -> Trend | None:
    """Return a series' trend; None where there are too few samples to say."""
    if len(samples) < SAMPLES_MIN:
        return None
    thinned = samples[:: max(1, len(samples) // _POINTS_MAX)]
    span_s = samples[-1].at_s - samples[0].at_s
    third = len(samples) // 3
    first, middle, last = (
        median(each.value for each in part)
        for part in (samples[:third], samples[third:-third], samples[-third:])
    )
    return Trend(
        level=median(each.value for each in samples),
        growth=_slope(thinned) * span_s,
        rises=first < middle < last,
    )


def _slope(samples: Sequence[Sample]) -> float:
    slopes = [
        (later.value - earlier.value) / (later.at_s - earlier.at_s)
        for earlier, later in combinations(samples, 2)
        if later.at_s > earlier.at_s
    ]
    return median(slopes) if slopes else 0.0
