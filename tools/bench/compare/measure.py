"""Sends one load to a running stack and reads what it cost."""

from __future__ import annotations

import threading
from typing import Final

from tools.bench.compare.cases import Point
from tools.bench.compare.cpu_meter import CpuMeter
from tools.bench.compare.machine import cpus
from tools.bench.compare.results import Figures, Measurement
from tools.bench.compare.roles import OUTSIDE_ENGINE, Role, outside_engine
from tools.bench.compare.stacks.port import Stack
from tools.bench.load.lengths import Fixed
from tools.bench.load.plan import (
    ClosedLoop,
    Extent,
    LoadPlan,
    OutputLength,
    Patience,
    Target,
    Workload,
)
from tools.bench.load.result import LoadResult, Quantiles
from tools.bench.load.run import run_load

_REQUEST_S: Final = 120.0
_DRAIN_S: Final = 90.0


def load_plan(point: Point, *, url: str, model: str, seed: int) -> LoadPlan:
    """Return the load of a point; another seed sends other prompts, so that no cache helps."""
    return LoadPlan(
        target=Target(url=url, model=model, stream=point.stream, output_length=OutputLength.EXACT),
        arrivals=ClosedLoop(clients=point.clients),
        workload=Workload(
            prompt_tokens=Fixed(tokens=point.prompt_tokens),
            output_tokens=Fixed(tokens=point.output_tokens),
            body_bytes_min=point.body_bytes_min,
            seed=seed,
        ),
        extent=Extent(warmup_s=point.warmup_s, duration_s=point.window_s),
        patience=Patience(request_s=_REQUEST_S, drain_s=_DRAIN_S),
    )


def measure(stack: Stack, plan: LoadPlan, stop: threading.Event) -> Measurement:
    """Run a load and return what it found.

    Raises:
        KeyboardInterrupt: somebody stopped the load; its figures are no round's.
    """
    with CpuMeter(stack.stack_id) as meter:
        result = run_load(plan, stop=stop)
    if result.is_interrupted:
        raise KeyboardInterrupt
    start_s = result.started_at + plan.extent.warmup_s
    end_s = start_s + result.throughput.window_s
    by_role, machine_s = meter.cpu_s(start_s, end_s), meter.machine_s(start_s, end_s)
    others_s = machine_s - sum(by_role.values()) - result.generator.cpu_s
    return Measurement(
        figures=_figures(result),
        errors=result.requests.failed,
        cpu_ms_per_1k_tokens=cpu_ms_per_1k_tokens(by_role, tokens=_tokens(result)),
        others_ratio=max(0.0, others_s) / (result.throughput.window_s * cpus()),
        generator_cpu_ratio=result.generator.cpu_s / (result.throughput.window_s * cpus()),
        requests=result.requests.measured,
        refused=result.verdict.reasons,
    )


def cpu_ms_per_1k_tokens(by_role: dict[Role, float], *, tokens: float) -> dict[str, float] | None:
    """Return milliseconds per 1,000 tokens by role and outside the engine, from CPU seconds."""
    if tokens <= 0:
        return None
    factor = 1_000 * 1_000 / tokens
    shares = {role.value: seconds * factor for role, seconds in by_role.items()}
    return {**shares, OUTSIDE_ENGINE: outside_engine(by_role) * factor}


def _tokens(result: LoadResult) -> float:
    return result.throughput.tokens_per_s * result.throughput.window_s


def _figures(result: LoadResult) -> Figures:
    rates, latency = result.throughput, result.latency
    return Figures(
        tokens_per_s=rates.tokens_per_s,
        requests_per_s=rates.requests_per_s,
        ttft_p50_s=_p50(latency.ttft),
        ttft_p99_s=_p99(latency.ttft),
        itl_p50_s=_p50(latency.itl),
        itl_p99_s=_p99(latency.itl),
        e2e_p50_s=_p50(latency.e2e),
        e2e_p99_s=_p99(latency.e2e),
    )


def _p50(found: Quantiles | None) -> float | None:
    return None if found is None else found.p50_s


def _p99(found: Quantiles | None) -> float | None:
    return None if found is None else found.p99_s
