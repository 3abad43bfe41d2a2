"""Whether a run's figures are the server's or the generator's own: pure.

A generator that cannot keep up shows it in one of four ways: its process has no CPU time left, its
requests go out late, its event loop stamps arrivals late, or requests wait for a file descriptor.
Lateness only matters beside what is measured: it may be a tenth of the median time to first token
(of the median answer, where nothing is streamed), and is never held against a run below 10 ms.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tools.bench.load.result import Generator, Latency, Quantiles, Requests, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the generator may take before its figures are refused.

    Attributes:
        utilisation_ratio_max: of the busiest process; above it queues form inside the generator.
        lag_s_max: 99th percentile of send and loop lag that is always allowed.
        lag_ratio_max: the same relative to the median of what is measured.
        waited_ratio_warn: share of time without a CPU from which on a warning is given.
    """

    utilisation_ratio_max: float = 0.85
    lag_s_max: float = 0.010
    lag_ratio_max: float = 0.1
    waited_ratio_warn: float = 0.1


def judge(
    generator: Generator, latency: Latency, requests: Requests, limits: Limits | None = None
) -> Verdict:
    """Return whether the generator was the limit, and why."""
    bounds = limits or Limits()
    return Verdict(
        reasons=tuple(_reasons(generator, latency, requests, bounds)),
        warnings=tuple(_warnings(generator, requests, bounds)),
    )


def _reasons(
    generator: Generator, latency: Latency, requests: Requests, limits: Limits
) -> Iterator[str]:
    if requests.ok == 0:
        yield "nothing was measured: no request of the window got a whole answer"
    busy = generator.utilisation_ratio
    if busy is not None and busy > limits.utilisation_ratio_max:
        yield (
            f"the generator used {busy:.0%} of one CPU in its busiest process, at most "
            f"{limits.utilisation_ratio_max:.0%} is sound; use more --processes, or less load"
        )
    allowed_s = _lag_allowed_s(latency, limits)
    advice = _advice(generator, limits)
    yield from _late("sent requests", generator.send_lag, allowed_s, advice)
    yield from _late("read the clock", generator.loop_lag, allowed_s, advice)
    if generator.held:
        yield (
            f"{generator.held} requests waited for a file descriptor of the generator; "
            "raise `ulimit -n`, use more --processes, or less load"
        )


def _lag_allowed_s(latency: Latency, limits: Limits) -> float:
    measured = latency.ttft or latency.e2e
    relative_s = limits.lag_ratio_max * measured.p50_s if measured else 0.0
    return max(limits.lag_s_max, relative_s)


def _advice(generator: Generator, limits: Limits) -> str:
    waited = generator.waited_ratio
    if waited is not None and waited > limits.waited_ratio_warn:
        return f"it waited for a CPU during {waited:.0%} of the time: give it one of its own"
    return "use more --processes, or less load"


def _late(what: str, lag: Quantiles | None, allowed_s: float, advice: str) -> Iterator[str]:
    if lag is not None and lag.p99_s > allowed_s:
        yield (
            f"the generator {what} {lag.p99_s * 1000:.1f} ms late (p99), at most "
            f"{allowed_s * 1000:.1f} ms is sound here; {advice}"
        )


def _warnings(generator: Generator, requests: Requests, limits: Limits) -> Iterator[str]:
    waited = generator.waited_ratio
    if waited is not None and waited > limits.waited_ratio_warn:
        yield (
            f"the generator waited for a CPU during {waited:.0%} of the time: it shares them with "
            "the server, and latencies contain that wait"
        )
    if requests.short:
        yield f"{requests.short} answers were shorter than asked; is the server vLLM?"
    if requests.unfinished:
        yield f"{requests.unfinished} requests were not done when the drain time was over"
