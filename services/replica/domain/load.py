"""A replica's load over a sliding window, from what the engine says at every step.

The engine's steps come many times a second; a `LoadTally` folds them into one slice a second.
A report looks at the last slices: rates and medians over the window, counts as they are last.
Missing is not zero: an engine that has not yet said anything has an unknown load.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Final, TypeVar

_T = TypeVar("_T")

WINDOW_SLICES: Final = 10
"""A report covers this many slices: ten seconds at one slice a second."""

TTFTS_PER_SLICE_MAX: Final = 512
"""More first tokens than this in one slice do not make the median better."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSample:
    """What the engine said at one step; None where it said nothing."""

    running: int | None = None
    waiting: int | None = None
    kv_cache_usage_ratio: float | None = None
    generated_tokens: int = 0
    ttfts_s: tuple[float, ...] = ()
    prefix_queried_tokens: int = 0
    prefix_hit_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSlice:
    """The steps between two moments of a monotonic clock, in seconds."""

    begin_s: float
    end_s: float
    generated_tokens: int
    ttfts_s: tuple[float, ...]
    running: int | None
    waiting: int | None
    kv_cache_usage_ratio: float | None
    prefix_queried_tokens: int = 0
    prefix_hit_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a report says of the load; fields as in `LoadReport`."""

    running: int | None
    waiting: int | None
    kv_cache_usage_ratio: float | None
    ttft_p50_s: float | None
    tokens_per_s: float | None
    prefix_cache_hit_ratio: float | None = None
    lost_reports_count: int | None = None


UNKNOWN_LOAD: Final = Load(
    running=None, waiting=None, kv_cache_usage_ratio=None, ttft_p50_s=None, tokens_per_s=None
)


@dataclass(slots=True, kw_only=True)
class LoadTally:
    """Folds steps into the present slice; `close` ends it and begins the next.

    Counts carry over from slice to slice: an engine without work says nothing.
    """

    begin_s: float
    _generated_tokens: int = 0
    _prefix_queried_tokens: int = 0
    _prefix_hit_tokens: int = 0
    _ttfts_s: list[float] = field(default_factory=list)
    _running: int | None = None
    _waiting: int | None = None
    _kv_cache_usage_ratio: float | None = None

    def add(self, sample: StepSample) -> None:
        """Take one step in."""
        self._generated_tokens += sample.generated_tokens
        self._prefix_queried_tokens += sample.prefix_queried_tokens
        self._prefix_hit_tokens += sample.prefix_hit_tokens
        room = TTFTS_PER_SLICE_MAX - len(self._ttfts_s)
        self._ttfts_s.extend(sample.ttfts_s[:room])
        self._running = _newer(sample.running, self._running)
        self._waiting = _newer(sample.waiting, self._waiting)
        self._kv_cache_usage_ratio = _newer(sample.kv_cache_usage_ratio, self._kv_cache_usage_ratio)

    def close(self, now_s: float) -> LoadSlice:
        """Return the slice up to now and begin the next."""
        ended = LoadSlice(
            begin_s=self.begin_s,
            end_s=now_s,
            generated_tokens=self._generated_tokens,
            ttfts_s=tuple(self._ttfts_s),
            running=self._running,
            waiting=self._waiting,
            kv_cache_usage_ratio=self._kv_cache_usage_ratio,
            prefix_queried_tokens=self._prefix_queried_tokens,
            prefix_hit_tokens=self._prefix_hit_tokens,
        )
        self.begin_s = now_s
        self._generated_tokens = self._prefix_queried_tokens = self._prefix_hit_tokens = 0
        self._ttfts_s.clear()
        return ended


def new_window() -> deque[LoadSlice]:
    """Return an empty window that forgets its oldest slice when it is full."""
    return deque(maxlen=WINDOW_SLICES)


def summarise(window: Sequence[LoadSlice]) -> Load:
    """Return the load over a window, oldest slice first; all of it is unknown when it is empty."""
    last = window[-1] if window else None
    ttfts_s = [ttft_s for each in window for ttft_s in each.ttfts_s]
    return Load(
        running=last.running if last else None,
        waiting=last.waiting if last else None,
        kv_cache_usage_ratio=last.kv_cache_usage_ratio if last else None,
        ttft_p50_s=median(ttfts_s) if ttfts_s else None,
        tokens_per_s=_tokens_per_s(window),
        prefix_cache_hit_ratio=_prefix_cache_hit_ratio(window),
    )


def _prefix_cache_hit_ratio(window: Sequence[LoadSlice]) -> float | None:
    queried = sum(each.prefix_queried_tokens for each in window)
    return sum(each.prefix_hit_tokens for each in window) / queried if queried else None


def _tokens_per_s(window: Sequence[LoadSlice]) -> float | None:
    if not window:
        return None
    duration_s = window[-1].end_s - window[0].begin_s
    if duration_s <= 0:
        return None
    return sum(each.generated_tokens for each in window) / duration_s


def _newer(new: _T | None, old: _T | None) -> _T | None:
    return old if new is None else new
