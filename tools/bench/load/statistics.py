"""From samples to figures: pure.

Latencies belong to the requests that were *intended* inside the window, however late they ended;
rates count what *arrived* inside the window, whichever request it belongs to.
Quantiles are exact: the smallest value with at least that share of the samples at or below it.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tools.bench.load.exchange import kind_of
from tools.bench.load.plan import LoadPlan, OutputLength, Slo
from tools.bench.load.result import (
    CURVE_POINTS,
    Goodput,
    Latency,
    Quantiles,
    Requests,
    Series,
    Throughput,
)
from tools.bench.load.samples import BIN_S, Floats, Outcome, Samples, Window

SERIES_POINTS_MAX: Final = 400
_RANKS: Final = (0.5, 0.9, 0.95, 0.99, 0.999)

Mask = NDArray[np.bool_]


def quantiles(values: NDArray[np.floating]) -> Quantiles | None:
    """Summarise times; NaN counts as not seen; None without any."""
    seen = np.sort(values[~np.isnan(values)].astype(np.float64))
    if seen.size == 0:
        return None
    p50, p90, p95, p99, p999 = (_at(seen, rank) for rank in _RANKS)
    return Quantiles(
        count=int(seen.size),
        mean_s=float(seen.mean()),
        min_s=float(seen[0]),
        p50_s=p50,
        p90_s=p90,
        p95_s=p95,
        p99_s=p99,
        p999_s=p999,
        max_s=float(seen[-1]),
        curve=tuple(_at(seen, rank) for rank in np.linspace(0, 1, CURVE_POINTS).tolist()),
    )


def _at(ordered: Floats, rank: float) -> float:
    # The tolerance keeps 0.99 * 100 = 99.00000000000001 from asking for the hundredth value.
    return float(ordered[max(0, math.ceil(rank * ordered.size - 1e-9) - 1)])


def measured(samples: Samples, window: Window) -> Mask:
    """Return which rows the latencies are about."""
    intended = samples.column("intended_s")
    in_window = (intended >= window.start_s) & (intended < window.end_s)
    mask: Mask = in_window & (samples.column("outcome") != Outcome.INTERRUPTED)
    return mask


def request_counts(samples: Samples, plan: LoadPlan, window: Window) -> Requests:
    """Count how the requests ended."""
    outcome, counted = samples.column("outcome"), measured(samples, window)
    ok = counted & (outcome == Outcome.OK)
    exact = plan.target.output_length is OutputLength.EXACT
    short = ok & (samples.column("output_tokens") < samples.column("asked_tokens"))
    return Requests(
        measured=int(counted.sum()),
        ok=int(ok.sum()),
        failed=int((counted & ~ok).sum()),
        truncated=int((counted & (outcome == Outcome.TRUNCATED)).sum()),
        unfinished=int((counted & (outcome == Outcome.UNFINISHED)).sum()),
        interrupted=int((outcome == Outcome.INTERRUPTED).sum()),
        short=int(short.sum()) if exact else 0,
        warmup=int((samples.column("intended_s") < window.start_s).sum()),
    )


def error_counts(samples: Samples, window: Window) -> dict[str, int]:
    """Count the failures by their kind, the most frequent first."""
    failed = measured(samples, window) & (samples.column("outcome") != Outcome.OK)
    pairs = zip(
        samples.column("outcome")[failed].tolist(),
        samples.column("status")[failed].tolist(),
        strict=True,
    )
    counts = Counter(kind_of(Outcome(int(outcome)), int(status)) for outcome, status in pairs)
    return dict(counts.most_common())


def latency(samples: Samples, window: Window) -> Latency:
    """Summarise the times of whole answers, from the intended send time."""
    ok = measured(samples, window) & (samples.column("outcome") == Outcome.OK)
    intended = samples.column("intended_s")[ok]
    return Latency(
        ttft=quantiles(samples.column("first_s")[ok] - intended),
        itl=quantiles(samples.gaps),
        tpot=quantiles(_tpot(samples)[ok]),
        e2e=quantiles(samples.column("end_s")[ok] - intended),
    )


def _tpot(samples: Samples) -> Floats:
    """Return each answer's mean time per token after the first; NaN for a single one."""
    after_first = _tokens(samples) - 1
    span = samples.column("last_s") - samples.column("first_s")
    return np.where(after_first > 0, span / np.maximum(after_first, 1), np.nan)


def _tokens(samples: Samples) -> Floats:
    """Return the tokens of each answer: the server's count, or the chunks with text."""
    said = samples.column("output_tokens")
    return np.where(np.isnan(said), samples.column("text_events"), said)


def throughput(samples: Samples, window: Window) -> Throughput:
    """Return the rates; a request of which only a part fell into the window counts by that part."""
    counted, window_s = measured(samples, window), window.end_s - window.start_s
    ok = samples.column("outcome") == Outcome.OK
    ended = samples.column("end_s")
    done = ok & (ended >= window.start_s) & (ended < window.end_s)
    events = samples.column("text_events")
    per_event = np.where(ok & (events > 0), _tokens(samples) / np.maximum(events, 1), 1.0)
    said = ~np.isnan(samples.column("output_tokens")[ok])
    return Throughput(
        window_s=window_s,
        tokens_per_s=_rate(float((samples.column("window_events") * per_event).sum()), window_s),
        requests_per_s=_rate(float(done.sum()), window_s),
        offered_per_s=_rate(float(counted.sum()), window_s),
        prompt_tokens_mean=_mean(samples.column("prompt_tokens")[ok & counted]),
        output_tokens_mean=_mean(_tokens(samples)[ok & counted]),
        counted_by="usage" if said.size and said.all() else "chunks",
    )


def goodput(samples: Samples, slo: Slo, window: Window) -> Goodput | None:
    """Return what met the SLO; None when there is none."""
    if not slo.is_set:
        return None
    counted = measured(samples, window)
    good = counted & (samples.column("outcome") == Outcome.OK)
    if slo.ttft_s is not None:
        good &= samples.column("first_s") - samples.column("intended_s") <= slo.ttft_s
    if slo.itl_s is not None:
        tpot = _tpot(samples)
        good &= np.isnan(tpot) | (tpot <= slo.itl_s)
    total = int(counted.sum())
    return Goodput(
        requests_per_s=_rate(float(good.sum()), window.end_s - window.start_s),
        ratio=float(good.sum()) / total if total else 0.0,
    )


def series(samples: Samples, over_s: float) -> Series:
    """Return the run over time, in at most SERIES_POINTS_MAX bins."""
    width = max(1, math.ceil(over_s / BIN_S / SERIES_POINTS_MAX))
    bin_s = width * BIN_S
    bins = max(1, math.ceil(over_s / bin_s))
    tokens = np.zeros(bins * width)
    tokens[: min(len(samples.bins), len(tokens))] = samples.bins[: len(tokens)]
    outcome, ended = samples.column("outcome"), samples.column("end_s")
    failed = (outcome != Outcome.OK) & (outcome != Outcome.INTERRUPTED)
    p50, p99 = _ttft_over_time(samples, bin_s, bins)
    return Series(
        bin_s=bin_s,
        tokens_per_s=_per_s(tokens.reshape(bins, width).sum(axis=1), bin_s),
        done_per_s=_per_s(_histogram(ended[outcome == Outcome.OK], bin_s, bins), bin_s),
        failed_per_s=_per_s(_histogram(ended[failed], bin_s, bins), bin_s),
        ttft_p50_s=p50,
        ttft_p99_s=p99,
    )


def _ttft_over_time(
    samples: Samples, bin_s: float, bins: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    intended = samples.column("intended_s")
    ttft = samples.column("first_s") - intended
    known = ~np.isnan(ttft)
    order = np.argsort(ttft[known], kind="stable")
    ordered = ttft[known][order]
    place = np.minimum((intended[known][order] / bin_s).astype(np.int64), bins - 1)
    groups = [ordered[place == index] for index in range(bins)]
    p50 = tuple(_at(group, 0.5) if group.size else math.nan for group in groups)
    p99 = tuple(_at(group, 0.99) if group.size else math.nan for group in groups)
    return p50, p99


def _histogram(times: Floats, bin_s: float, bins: int) -> Floats:
    place = np.minimum((times / bin_s).astype(np.int64), bins - 1)
    return np.bincount(place, minlength=bins).astype(np.float64)


def _per_s(counts: Floats, bin_s: float) -> tuple[float, ...]:
    return tuple((counts / bin_s).tolist())


def _rate(amount: float, window_s: float) -> float:
    return amount / window_s if window_s > 0 else 0.0


def _mean(values: Floats) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else None
