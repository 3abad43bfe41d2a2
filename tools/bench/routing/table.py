"""The rows that a person sees: pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tools.bench.routing.offline import OfflineFigures
from tools.bench.routing.results import Results, Spread

_NOTHING: Final = "-"

COLUMNS: Final = (
    "policy",
    "cache hits",
    "computed tokens",
    "busiest/mean",
    "TTFT p50 ms",
    "ratio",
    "TTFT p99 ms",
    "ratio",
    "failed",
)
OFFLINE_COLUMNS: Final = ("policy", "cache hits", "busiest/mean", "TTFT p50 ms", "TTFT p99 ms")


def rows(results: Results) -> list[tuple[str, ...]]:
    """Return one row a policy; ratios are to the first policy, round by round."""
    policies = results.policies()
    return [_row(results, policy, policies[0]) for policy in policies]


def offline_rows(found: Sequence[OfflineFigures]) -> list[tuple[str, ...]]:
    """Return one row a policy."""
    return [
        (
            each.policy,
            f"{each.hit_ratio:.1%}",
            f"{each.imbalance:.2f}",
            f"{each.ttft_p50_s * 1000:,.0f}",
            f"{each.ttft_p99_s * 1000:,.0f}",
        )
        for each in found
    ]


def doubts(results: Results) -> list[str]:
    """Say in which turns the load generator's times are not sound."""
    return [
        f"{turn.policy}, round {turn.round}: {doubt}"
        for turn in results.turns
        for doubt in turn.doubts
    ]


def _row(results: Results, policy: str, base: str) -> tuple[str, ...]:
    return (
        policy,
        _text(results.spread(policy, "hit_ratio"), scale=100, digits=1, unit=" %"),
        _text(results.spread(policy, "computed_tokens"), digits=0),
        _text(results.spread(policy, "imbalance"), digits=2),
        _text(results.spread(policy, "ttft_p50_s"), scale=1000, digits=0),
        _text(results.ratio(policy, base, "ttft_p50_s"), digits=2),
        _text(results.spread(policy, "ttft_p99_s"), scale=1000, digits=0),
        _text(results.ratio(policy, base, "ttft_p99_s"), digits=2),
        f"{sum(turn.failed for turn in results.of(policy)):,}",
    )


def _text(spread: Spread | None, *, scale: float = 1.0, digits: int, unit: str = "") -> str:
    """Write the median, and the range where rounds differ."""
    if spread is None:
        return _NOTHING
    low, middle, high = (
        f"{value * scale:,.{digits}f}" for value in (spread.least, spread.median, spread.greatest)
    )
    return f"{middle}{unit}" if low == high else f"{middle}{unit} ({low}-{high})"
