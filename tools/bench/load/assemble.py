"""Puts the processes' samples together into one result: pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np

from tools.bench.load import statistics
from tools.bench.load.plan import Arrivals, ClosedLoop, LoadPlan, Poisson
from tools.bench.load.result import Generator, LoadResult
from tools.bench.load.samples import Samples, Window, merge
from tools.bench.load.shard import Ended, ShardResult
from tools.bench.load.verdict import Limits, judge

_ENDED_BY_WEIGHT = (Ended.INTERRUPTED, Ended.SAMPLES_FULL)


def assemble(
    plan: LoadPlan,
    shards: Sequence[ShardResult],
    *,
    started_at: float,
    limits: Limits | None = None,
) -> LoadResult:
    """Return the run's result; `started_at` is Unix time in seconds."""
    samples = merge([shard.samples for shard in shards])
    over_s = max(shard.over_s for shard in shards)
    window = measured_window(plan, over_s=over_s)
    rates = statistics.throughput(samples, window)
    latency = statistics.latency(samples, window)
    requests = statistics.request_counts(samples, plan, window)
    generator = _generator(shards, samples, window, tokens=rates.tokens_per_s * rates.window_s)
    return LoadResult(
        plan=describe(plan),
        started_at=started_at,
        ended=_ended(shards).value,
        requests=requests,
        errors=statistics.error_counts(samples, window),
        error_examples=samples.examples,
        latency=latency,
        throughput=rates,
        goodput=statistics.goodput(samples, plan.slo, window),
        generator=generator,
        verdict=judge(generator, latency, requests, limits),
        series=statistics.series(samples, over_s),
    )


def measured_window(plan: LoadPlan, *, over_s: float) -> Window:
    """Return what the figures are about: from the warm-up to the planned end, or the run's own."""
    start_s = plan.extent.warmup_s
    return Window(start_s=start_s, end_s=max(start_s, min(plan.extent.window_end_s, over_s)))


def describe(plan: LoadPlan) -> dict[str, object]:
    """Return the plan in plain values: a trace by its size, headers by their names alone."""
    workload, target = plan.workload, plan.target
    return {
        "target": asdict(target) | {"headers": [name for name, _ in target.headers]},
        "arrivals": _arrivals(plan.arrivals),
        "workload": asdict(workload)
        | {
            "prompt_tokens": str(workload.prompt_tokens),
            "output_tokens": str(workload.output_tokens),
        },
        "extent": asdict(plan.extent),
        "slo": asdict(plan.slo),
        "patience": asdict(plan.patience),
        "processes": plan.processes,
    }


def _arrivals(arrivals: Arrivals) -> dict[str, object]:
    if isinstance(arrivals, ClosedLoop):
        return {"loop": "closed", "clients": arrivals.clients}
    if isinstance(arrivals, Poisson):
        return {"loop": "open", "rate_per_s": arrivals.rate_per_s}
    return {"loop": "open", "trace_requests": len(arrivals.requests), "speed": arrivals.speed}


def _ended(shards: Sequence[ShardResult]) -> Ended:
    """Return why the run ended: the one reason, or the gravest of several."""
    seen = {shard.ended for shard in shards}
    return next((each for each in _ENDED_BY_WEIGHT if each in seen), shards[0].ended)


def _generator(
    shards: Sequence[ShardResult], samples: Samples, window: Window, *, tokens: float
) -> Generator:
    efforts = [shard.effort for shard in shards if shard.effort is not None]
    cpu_s = sum(effort.cpu_s for effort in efforts)
    waited = [
        effort.waited_s / effort.elapsed_s
        for effort in efforts
        if effort.waited_s is not None and effort.elapsed_s > 0
    ]
    counted = statistics.measured(samples, window)
    lags = np.concatenate([np.array(shard.loop_lags_s) for shard in shards])
    return Generator(
        processes=len(shards),
        cpu_s=cpu_s,
        cpu_ms_per_1k_tokens=cpu_s * 1e6 / tokens if efforts and tokens > 0 else None,
        utilisation_ratio=max((effort.utilisation_ratio for effort in efforts), default=None),
        waited_ratio=max(waited, default=None),
        send_lag=statistics.quantiles(
            (samples.column("started_s") - samples.column("intended_s"))[counted]
        ),
        loop_lag=statistics.quantiles(lags),
        niceness=max(shard.niceness for shard in shards),
        connections=sum(shard.connections for shard in shards),
        held=sum(shard.held for shard in shards),
    )
