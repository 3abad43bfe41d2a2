"""What replicas say of their prefix caches, read from their metrics: pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from libs.errors import ControlPlaneError

_METRIC: Final = re.compile(
    r"^vllm:prefix_cache_(queries|hits)_total(?:\{[^\n]*\})? ([0-9.e+-]+)$", re.MULTILINE
)


class CountersMissingError(ControlPlaneError):
    """A replica's metrics have no prefix cache counters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheCounters:
    """Prompt tokens that one replica looked up in its prefix cache, and found there."""

    queried_tokens: int
    hit_tokens: int

    def since(self, before: CacheCounters) -> CacheCounters:
        """Return what was counted after another reading."""
        return CacheCounters(
            queried_tokens=self.queried_tokens - before.queried_tokens,
            hit_tokens=self.hit_tokens - before.hit_tokens,
        )

    @property
    def computed_tokens(self) -> int:
        """Tokens that had to be computed."""
        return self.queried_tokens - self.hit_tokens


def parse_counters(metrics: str) -> CacheCounters:
    """Read vLLM's metrics in Prometheus' text format; several engines are summed.

    Raises:
        CountersMissingError: they are not there; missing is not zero.
    """
    sums: dict[str, float] = {}
    for name, value in _METRIC.findall(metrics):
        sums[name] = sums.get(name, 0.0) + float(value)
    if sums.keys() != {"queries", "hits"}:
        raise CountersMissingError
    return CacheCounters(queried_tokens=round(sums["queries"]), hit_tokens=round(sums["hits"]))


def hit_ratio(counted: Sequence[CacheCounters]) -> float | None:
    """Return the share of looked-up tokens that were found; None when none was looked up."""
    queried = sum(each.queried_tokens for each in counted)
    return sum(each.hit_tokens for each in counted) / queried if queried else None


def imbalance(counted: Sequence[CacheCounters]) -> float | None:
    """Return the most that a replica computed over the mean; 1 is even, None is nothing at all."""
    computed = [each.computed_tokens for each in counted]
    mean = sum(computed) / len(computed)
    return max(computed) / mean if mean else None
