"""What the processes of one run tell each other."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from enum import StrEnum

from tools.bench.load.meters import Effort
from tools.bench.load.samples import Samples


class Ended(StrEnum):
    """Why sending ended."""

    DURATION = "duration"
    REQUESTS = "requests"
    TRACE = "trace"
    INTERRUPTED = "interrupted"
    SAMPLES_FULL = "samples_full"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where one process stands, or all of them together."""

    elapsed_s: float
    finished: int = 0
    failed: int = 0
    in_flight: int = 0
    text_events: int = 0

    def plus(self, other: Progress) -> Progress:
        """Add another process's."""
        return Progress(
            elapsed_s=max(self.elapsed_s, other.elapsed_s),
            finished=self.finished + other.finished,
            failed=self.failed + other.failed,
            in_flight=self.in_flight + other.in_flight,
            text_events=self.text_events + other.text_events,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardResult:
    """What one process saw.

    Attributes:
        over_s: when the last answer ended, in seconds from the start.
        effort: over the measured window; None when the run ended before the window began.
        loop_lags_s: how late the event loop was, probed all the time.
        niceness: the process's, below 0 where this user may ask for that.
        held: requests that waited because the process had no file descriptor left for them.
    """

    samples: Samples
    ended: Ended
    over_s: float
    effort: Effort | None
    loop_lags_s: array[float]
    niceness: int
    connections: int
    held: int
