"""How requests ended, counted; only what failed is remembered one by one (pure)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

FAILURES_MAX: Final = 10_000
"""What is beyond is only counted."""


class Kind(StrEnum):
    """Which way a request takes."""

    SHORT = "short"
    LONG = "long"
    LARGE = "large"
    PYTHON = "python"


class Ending(StrEnum):
    """How an answer ended.

    WHOLE: with everything that was asked for. SAID: before that, and the client can tell, by an
    error event or by a connection that breaks. SILENT: before that, with nothing that tells.
    REFUSED: with a status that is not 200. LOST: before a status.
    """

    WHOLE = "whole"
    SAID = "broke off"
    SILENT = "broke off silently"
    REFUSED = "refused"
    LOST = "lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One request.

    Attributes:
        began_s: on the run's clock, as `ended_s`.
        server: who answered, `<replica id>.<incarnation>`; None before a first byte.
        status: None before a first byte.
        said: what came instead of an answer, shortened.
        first_s: when the first token came; None without one.
    """

    kind: Kind
    began_s: float
    ended_s: float
    ending: Ending
    server: str | None = None
    status: int | None = None
    said: str = ""
    first_s: float | None = None


@dataclass(slots=True)
class Ledger:
    """What the clients saw so far."""

    counts: Counter[tuple[Kind, Ending]] = field(default_factory=Counter)
    failures: list[Outcome] = field(default_factory=list)
    slowest_s: dict[Kind, float] = field(default_factory=dict)

    def add(self, outcome: Outcome) -> None:
        """Count one request."""
        self.counts[outcome.kind, outcome.ending] += 1
        took_s = outcome.ended_s - outcome.began_s
        self.slowest_s[outcome.kind] = max(self.slowest_s.get(outcome.kind, 0.0), took_s)
        if outcome.ending is not Ending.WHOLE and len(self.failures) < FAILURES_MAX:
            self.failures.append(outcome)

    @property
    def requests(self) -> int:
        """How many ended."""
        return sum(self.counts.values())
