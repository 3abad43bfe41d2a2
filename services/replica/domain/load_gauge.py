"""An engine's load out of what its engine core says about once a second.

The engine core counts since its start; a gauge turns two readings into what lies between them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from services.replica.domain.load import (
    UNKNOWN_LOAD,
    Load,
    LoadTally,
    StepSample,
    new_window,
    summarise,
)

STALE_AFTER_S: Final = 5.0
"""The engine core reports every second, in a step of any length: one that is silent is stuck."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineTotals:
    """What an engine core says: counts at its last step, and sums since it started.

    Attributes:
        ttfts_s: first-token latencies since its report before this one, in seconds.
        lost_reports_count: what it could not report.
    """

    running: int
    waiting: int
    kv_cache_usage_ratio: float
    generated_tokens: int
    prefix_queried_tokens: int
    prefix_hit_tokens: int
    ttfts_s: tuple[float, ...]
    lost_reports_count: int


class LoadGauge:
    """Collects an engine's reports and hands out its load; times are monotonic, in seconds.

    Attributes:
        last: the newest report; None before the first.
    """

    def __init__(self, now_s: float) -> None:
        """Start an empty window."""
        self._tally = LoadTally(begin_s=now_s)
        self._window = new_window()
        self.last: EngineTotals | None = None
        self._last_s = now_s

    def add(self, totals: EngineTotals, now_s: float) -> None:
        """Take a report in."""
        self._tally.add(_between(self.last, totals))
        self.last, self._last_s = totals, now_s

    def read(self, now_s: float) -> Load:
        """End the present slice and return the load over the window.

        Everything is unknown before the first report, and while reports stay away.
        """
        self._window.append(self._tally.close(now_s))
        if self.last is None or now_s - self._last_s > STALE_AFTER_S:
            return UNKNOWN_LOAD
        lost = self.last.lost_reports_count
        return replace(summarise(self._window), lost_reports_count=lost)


def _between(before: EngineTotals | None, now: EngineTotals) -> StepSample:
    """Return what happened after an earlier report; sums never go back, except in a new engine."""
    return StepSample(
        running=now.running,
        waiting=now.waiting,
        kv_cache_usage_ratio=now.kv_cache_usage_ratio,
        ttfts_s=now.ttfts_s,
        generated_tokens=_grown(before.generated_tokens if before else 0, now.generated_tokens),
        prefix_queried_tokens=_grown(
            before.prefix_queried_tokens if before else 0, now.prefix_queried_tokens
        ),
        prefix_hit_tokens=_grown(before.prefix_hit_tokens if before else 0, now.prefix_hit_tokens),
    )


def _grown(before: int, now: int) -> int:
    return max(0, now - before)
