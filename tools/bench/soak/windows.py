"""Latencies in windows of time; a window keeps figures and not requests (pure)."""

from __future__ import annotations

from dataclasses import dataclass, field

from tools.bench.chaos.outcomes import Ending, Kind, Ledger, Outcome
from tools.bench.join import percentile


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What short answers took in one window.

    Attributes:
        ttft_p50_s: to the first token; None without answers.
    """

    answers: int
    ttft_p50_s: float | None
    ttft_p99_s: float | None
    answer_p99_s: float | None


@dataclass(slots=True)
class WindowedLedger(Ledger):
    """Counts all requests, and takes the times of whole short ones until the window is closed."""

    _first_s: list[float] = field(default_factory=list)
    _whole_s: list[float] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        """Count one request."""
        Ledger.add(self, outcome)
        if outcome.kind is Kind.SHORT and outcome.ending is Ending.WHOLE:
            self._whole_s.append(outcome.ended_s - outcome.began_s)
            if outcome.first_s is not None:
                self._first_s.append(outcome.first_s - outcome.began_s)

    def close_window(self) -> Window:
        """Return the window's figures and begin another."""
        first, whole = self._first_s, self._whole_s
        self._first_s, self._whole_s = [], []
        return Window(
            answers=len(whole),
            ttft_p50_s=percentile(first, 50) if first else None,
            ttft_p99_s=percentile(first, 99) if first else None,
            answer_p99_s=percentile(whole, 99) if whole else None,
        )
