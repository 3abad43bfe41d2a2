"""What a run found, as values that a table, a file and a comparison can use."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

CURVE_POINTS = 1001


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantiles:
    """A distribution of times in seconds; every quantile is a value that was seen.

    Attributes:
        curve: CURVE_POINTS values from the smallest to the largest at even ranks, for plots.
    """

    count: int
    mean_s: float
    min_s: float
    p50_s: float
    p90_s: float
    p95_s: float
    p99_s: float
    p999_s: float
    max_s: float
    curve: tuple[float, ...] = field(repr=False)

    def to_json(self) -> dict[str, object]:
        """Return all but the curve, to the microsecond."""
        return _plain({k: v for k, v in asdict(self).items() if k != "curve"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """How the requests of the measured window ended.

    Attributes:
        measured: intended inside the window; those still under way at an interruption are left out.
        truncated: answers with status 200 whose stream ended without [DONE]; they are failures too.
        unfinished: under way when the drain time was over; failures too.
        interrupted: under way at an interruption; neither failures nor successes.
        short: whole answers with fewer tokens than an exact length asked for.
        warmup: sent before the window.
    """

    measured: int
    ok: int
    failed: int
    truncated: int
    unfinished: int
    interrupted: int
    short: int
    warmup: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Times from the intended send time; None where nothing was seen.

    Attributes:
        ttft: to the first text. itl: between chunks with text.
        tpot: per token after the first, each answer's mean. e2e: to the end of the answer.
    """

    ttft: Quantiles | None
    itl: Quantiles | None
    tpot: Quantiles | None
    e2e: Quantiles | None

    def to_json(self) -> dict[str, object]:
        """Return plain values."""
        found = {"ttft": self.ttft, "itl": self.itl, "tpot": self.tpot, "e2e": self.e2e}
        return {name: value.to_json() if value else None for name, value in found.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """Rates over the window.

    Attributes:
        tokens_per_s: of tokens that arrived inside the window, whichever request they belong to.
        requests_per_s: of whole answers that ended inside the window.
        offered_per_s: of requests that were due inside the window.
        counted_by: `usage` when every answer said how many tokens it has, else `chunks` with text.
    """

    window_s: float
    tokens_per_s: float
    requests_per_s: float
    offered_per_s: float
    prompt_tokens_mean: float | None
    output_tokens_mean: float | None
    counted_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Goodput:
    """What met the SLO.

    Attributes:
        ratio: of the measured requests, failures included.
    """

    requests_per_s: float
    ratio: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Generator:
    """What the generator itself did; the verdict judges by this.

    Attributes:
        utilisation_ratio: CPU time over elapsed time of the busiest process.
        waited_ratio: time ready to run without a CPU over elapsed time, of the worst process; None
            where the kernel does not say.
        send_lag: from a request's intended time to the moment the generator turned to it.
        loop_lag: lateness of the event loop, probed all the time.
        niceness: of its processes; -10 where the user may ask for it, so that a server on the same
            CPUs does not hold the clock up.
        held: requests that waited for a file descriptor.
    """

    processes: int
    cpu_s: float
    cpu_ms_per_1k_tokens: float | None
    utilisation_ratio: float | None
    waited_ratio: float | None
    send_lag: Quantiles | None
    loop_lag: Quantiles | None
    niceness: int
    connections: int
    held: int

    def to_json(self) -> dict[str, object]:
        """Return plain values."""
        lags = {
            "send_lag": self.send_lag.to_json() if self.send_lag else None,
            "loop_lag": self.loop_lag.to_json() if self.loop_lag else None,
        }
        return _plain({k: v for k, v in asdict(self).items() if k not in lags}) | lags


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether the figures are the server's.

    Attributes:
        reasons: why not; empty when valid.
        warnings: what to keep in mind all the same.
    """

    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def is_valid(self) -> bool:
        """Whether the generator was no limit."""
        return not self.reasons


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """The run over time: one value per bin of `bin_s`, from the start, warm-up included.

    Attributes:
        ttft_p50_s, ttft_p99_s: of requests by their intended time; NaN where there are none.
    """

    bin_s: float
    tokens_per_s: tuple[float, ...]
    done_per_s: tuple[float, ...]
    failed_per_s: tuple[float, ...]
    ttft_p50_s: tuple[float, ...]
    ttft_p99_s: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadResult:
    """One run.

    Attributes:
        plan: what was run, in words and numbers.
        ended: why sending ended.
        errors: how many requests of the window failed, by kind.
        error_examples: the first few messages of each kind.
    """

    plan: Mapping[str, object]
    started_at: float
    ended: str
    requests: Requests
    errors: Mapping[str, int]
    error_examples: Mapping[str, list[str]]
    latency: Latency
    throughput: Throughput
    goodput: Goodput | None
    generator: Generator
    verdict: Verdict
    series: Series = field(repr=False)

    @property
    def is_interrupted(self) -> bool:
        """Whether somebody stopped the run."""
        return self.ended == "interrupted"

    @property
    def is_full(self) -> bool:
        """Whether the run ended before its time because it may keep no more samples."""
        return self.ended == "samples_full"

    def to_json(self) -> dict[str, object]:
        """Return plain values for `json.dumps`."""
        return {
            "valid": self.verdict.is_valid,
            "invalid_reasons": list(self.verdict.reasons),
            "warnings": list(self.verdict.warnings),
            "interrupted": self.is_interrupted,
            "ended": self.ended,
            "started_at": round(self.started_at, 3),
            "plan": dict(self.plan),
            "throughput": _plain(asdict(self.throughput)),
            "goodput": _plain(asdict(self.goodput)) if self.goodput else None,
            "latency": self.latency.to_json(),
            "requests": asdict(self.requests),
            "errors": dict(self.errors),
            "error_examples": dict(self.error_examples),
            "generator": self.generator.to_json(),
            "series": _plain(asdict(self.series)),
        }


def _plain(values: Mapping[str, object]) -> dict[str, object]:
    return {name: _value(value) for name, value in values.items()}


def _value(value: object) -> object:
    """Round to the microsecond; NaN, which JSON has no word for, becomes None."""
    if isinstance(value, float):
        return None if math.isnan(value) else round(value, 6)
    if isinstance(value, tuple):
        return [_value(each) for each in value]
    return value
