"""What a churn run found, and whether that is good; pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Final

from libs.contracts.reports import RoutingStatus
from tools.bench.join import percentile
from tools.bench.load.result import LoadResult

GOOD: Final = 0
BAD: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestCounts:
    """How requests ended.

    Attributes:
        failed: another status than 200, or no answer at all.
        truncated: status 200, and no [DONE].
        slow: whole, with a first token later than the threshold.
        errors: by kind.
    """

    requests: int = 0
    failed: int = 0
    truncated: int = 0
    slow: int = 0
    errors: Mapping[str, int] = field(default_factory=dict)

    def plus(self, other: RequestCounts) -> RequestCounts:
        """Return both together."""
        return RequestCounts(
            requests=self.requests + other.requests,
            failed=self.failed + other.failed,
            truncated=self.truncated + other.truncated,
            slow=self.slow + other.slow,
            errors=dict(Counter(self.errors) + Counter(other.errors)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LongStreamResult:
    """The stream that spans the run.

    Attributes:
        status: of HTTP; 0 without an answer.
        tokens: that came, each in its place.
        fault: what was wrong first; empty when nothing was.
    """

    is_whole: bool
    status: int
    tokens: int
    duration_s: float
    fault: str = ""

    def counts(self) -> RequestCounts:
        """Count it as one more request."""
        broken = {} if self.is_whole else {"long_stream": 1}
        truncated = self.status == 200 and not self.is_whole  # noqa: PLR2004 - HTTP's own number
        return RequestCounts(
            requests=1,
            failed=int(not self.is_whole and not truncated),
            truncated=int(truncated),
            errors=broken,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ChurnResult:
    """One run.

    Attributes:
        joins_s: from the write of the lease `ready` to the first request that replica got.
        leaves_s: from the write of the lease `draining` to HAProxy's removal of the server; the
            replica of the long stream, which leaves for as long as that lasts, is not among them.
        reloads: of HAProxy during the run; None when the edge did not say.
        problems: what ended the run before its time, in words.
        clients_late: why the clients' figures are not to be trusted; empty when they are.
    """

    cycles: int
    duration_s: float
    counts: RequestCounts
    joins_s: Sequence[float]
    leaves_s: Sequence[float]
    reloads: int | None
    long_stream: LongStreamResult
    error_examples: Mapping[str, list[str]] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    clients_late: tuple[str, ...] = ()
    interrupted: bool = False

    @property
    def is_good(self) -> bool:
        """Whether no client noticed anything, and HAProxy ran through."""
        hurt = self.counts.failed + self.counts.truncated
        return hurt == 0 and self.reloads == 0 and not self.problems and self.long_stream.is_whole

    @property
    def exit_code(self) -> int:
        """Return the command's exit code."""
        return GOOD if self.is_good else BAD

    def to_json(self) -> dict[str, object]:
        """Return plain values."""
        return {
            "cycles": self.cycles,
            "requests": self.counts.requests,
            "failed": self.counts.failed,
            "truncated": self.counts.truncated,
            "slow": self.counts.slow,
            **_quantiles("join_to_routable", self.joins_s),
            **_quantiles("leave_to_idle", self.leaves_s),
            "reloads": self.reloads,
            "long_stream_whole": self.long_stream.is_whole,
            "long_stream": asdict(self.long_stream),
            "duration_s": round(self.duration_s, 3),
            "interrupted": self.interrupted,
            "problems": list(self.problems),
            "errors": dict(self.counts.errors),
            "error_examples": dict(self.error_examples),
            "clients_late": list(self.clients_late),
        }


def load_counts(load: LoadResult) -> RequestCounts:
    """Return how the clients' requests ended; the load's SLO is the threshold of slowness."""
    asked = load.requests
    in_time = asked.ok if load.goodput is None else round(load.goodput.ratio * asked.measured)
    return RequestCounts(
        requests=asked.measured,
        failed=asked.failed - asked.truncated,
        truncated=asked.truncated,
        slow=max(0, asked.ok - in_time),
        errors=load.errors,
    )


def reloads_between(before: RoutingStatus | None, after: RoutingStatus | None) -> int | None:
    """Return HAProxy's reloads between two statuses, and its ends, which hurt as much."""
    if before is None or after is None:
        return None
    another = before.haproxy_pid != after.haproxy_pid
    return max(after.reloads - before.reloads, int(another))


def _quantiles(name: str, values: Sequence[float]) -> dict[str, float | None]:
    ranks = {"p50": 50, "p99": 99, "max": 100}
    return {f"{name}_{label}_s": _at(values, rank) for label, rank in ranks.items()}


def _at(values: Sequence[float], rank: float) -> float | None:
    return round(percentile(values, rank), 4) if values else None


def milliseconds(seconds: float | None) -> str:
    """Render a time for a table."""
    return "unknown" if seconds is None or math.isnan(seconds) else f"{seconds * 1000:,.1f} ms"
