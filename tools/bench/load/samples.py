"""What a run wrote down: one row per request, one number per gap between tokens. Memory is bounded.

Times are seconds from the run's start. The samples are kept whole, so that quantiles are exact; the
bounds below end a run before its samples take more than 200 MB in one process.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

REQUESTS_MAX: Final = 1_000_000
"""Rows of one process: 104 bytes each."""
GAPS_MAX: Final = 25_000_000
"""Gaps of one process: 4 bytes each; single precision keeps 7 digits."""
BIN_S: Final = 0.25
"""Width of the bins in which arriving tokens are counted over time."""
_EXAMPLES_MAX: Final = 3
_EXAMPLE_CHARACTERS: Final = 200

Floats = NDArray[np.float64]


class Outcome(IntEnum):
    """How a request ended."""

    OK = 0
    HTTP_ERROR = 1
    CONNECT = 2
    RESET = 3
    TIMEOUT = 4
    TRUNCATED = 5
    STREAM_ERROR = 6
    MALFORMED = 7
    UNFINISHED = 8
    INTERRUPTED = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One request.

    Attributes:
        intended_s: when it should have been sent; latencies count from here.
        started_s: when the generator turned to it; what lies between is the generator's own lag.
        sent_s, first_s, last_s: when it was written to a connection, and when its first and last
            text came; NaN for never.
        end_s: when its outcome was known.
        prompt_tokens, output_tokens: by the server's `usage`; NaN when it did not say.
        text_events: chunks with text.
        window_events: those of them that came inside the measured window.
        status: of HTTP; 0 without an answer.
    """

    intended_s: float
    started_s: float
    sent_s: float
    first_s: float
    last_s: float
    end_s: float
    asked_tokens: float
    prompt_tokens: float
    output_tokens: float
    text_events: float
    window_events: float
    outcome: float
    status: float


COLUMNS: Final = tuple(each.name for each in fields(Row))


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The measured part of a run; its end is infinite while only a number of requests ends it."""

    start_s: float
    end_s: float

    def holds(self, at_s: float) -> bool:
        """Whether a time lies inside."""
        return self.start_s <= at_s < self.end_s


@dataclass(slots=True, kw_only=True)
class Ledger:
    """Takes down what happens, fast; it has no other side."""

    window: Window
    rows: array[float] = field(default_factory=lambda: array("d"))
    gaps: array[float] = field(default_factory=lambda: array("f"))
    bins: array[int] = field(default_factory=lambda: array("l"))
    examples: dict[str, list[str]] = field(default_factory=dict)
    finished: int = 0
    failed: int = 0
    events: int = 0

    @property
    def is_full(self) -> bool:
        """Whether no further request may begin."""
        return self.finished >= REQUESTS_MAX or len(self.gaps) >= GAPS_MAX

    def text_came(self, now_s: float) -> None:
        """Count one chunk with text at its time."""
        self.events += 1
        index = int(now_s / BIN_S)
        if index >= len(self.bins):
            self.bins.extend([0] * (index + 1 - len(self.bins)))
        self.bins[index] += 1

    def write(self, row: Row) -> None:
        """Take down a request that ended."""
        self.finished += 1
        if row.outcome not in {Outcome.OK, Outcome.INTERRUPTED}:
            self.failed += 1
        self.rows.extend([getattr(row, name) for name in COLUMNS])

    def explain(self, kind: str, detail: str) -> None:
        """Keep the first few details of each kind of error."""
        kept = self.examples.setdefault(kind, [])
        if len(kept) < _EXAMPLES_MAX and detail:
            kept.append(detail[:_EXAMPLE_CHARACTERS])


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """What was taken down, by all processes or by one: columns of rows, gaps, tokens over time."""

    rows: Floats
    gaps: NDArray[np.float32]
    bins: NDArray[np.int64]
    examples: dict[str, list[str]]

    def column(self, name: str) -> Floats:
        """Return one column of the rows by its name in `Row`."""
        return self.rows[:, COLUMNS.index(name)]


def freeze(ledger: Ledger) -> Samples:
    """Return the ledger's samples."""
    return Samples(
        rows=np.array(ledger.rows, dtype=np.float64).reshape(-1, len(COLUMNS)),
        gaps=np.array(ledger.gaps, dtype=np.float32),
        bins=np.array(ledger.bins, dtype=np.int64),
        examples=ledger.examples,
    )


def merge(parts: Sequence[Samples]) -> Samples:
    """Put the samples of several processes together."""
    bins = np.zeros(max((len(part.bins) for part in parts), default=0), dtype=np.int64)
    examples: dict[str, list[str]] = {}
    for part in parts:
        bins[: len(part.bins)] += part.bins
        for kind, details in part.examples.items():
            examples[kind] = [*examples.get(kind, []), *details][:_EXAMPLES_MAX]
    return Samples(
        rows=np.concatenate([part.rows for part in parts]),
        gaps=np.concatenate([part.gaps for part in parts]),
        bins=bins,
        examples=examples,
    )
