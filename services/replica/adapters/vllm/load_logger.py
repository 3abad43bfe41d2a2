"""A stat logger of vLLM's that keeps what the load report needs."""

from __future__ import annotations

import time

from vllm.config import VllmConfig
from vllm.v1.metrics.loggers import StatLoggerBase
from vllm.v1.metrics.stats import IterationStats, MultiModalCacheStats, SchedulerStats

from services.replica.domain.load import Load, LoadTally, StepSample, new_window, summarise


class LoadGauge:
    """Collects steps and hands out the load; one per engine."""

    def __init__(self) -> None:
        """Start an empty window."""
        self._tally = LoadTally(begin_s=time.monotonic())
        self._window = new_window()

    def add(self, sample: StepSample) -> None:
        """Take one step in."""
        self._tally.add(sample)

    def read(self) -> Load:
        """End the present slice and return the load over the window."""
        self._window.append(self._tally.close(time.monotonic()))
        return summarise(self._window)

    def logger(self, _config: VllmConfig, _engine_index: int = 0) -> StatLoggerBase:
        """Make the stat logger that feeds this gauge: a factory as vLLM wants it."""
        return _GaugeLogger(self)


class _GaugeLogger(StatLoggerBase):
    def __init__(self, gauge: LoadGauge) -> None:
        self._gauge = gauge

    def record(
        self,
        scheduler_stats: SchedulerStats | None,
        iteration_stats: IterationStats | None,
        mm_cache_stats: MultiModalCacheStats | None = None,  # noqa: ARG002 - vLLM's signature
        engine_idx: int = 0,  # noqa: ARG002 - vLLM's signature
    ) -> None:
        self._gauge.add(_sample(scheduler_stats, iteration_stats))

    def log_engine_initialized(self) -> None:
        pass


def _sample(scheduler: SchedulerStats | None, iteration: IterationStats | None) -> StepSample:
    return StepSample(
        running=scheduler.num_running_reqs if scheduler else None,
        waiting=_waiting(scheduler) if scheduler else None,
        kv_cache_usage_ratio=scheduler.kv_cache_usage if scheduler else None,
        generated_tokens=iteration.num_generation_tokens if iteration else 0,
        ttfts_s=tuple(iteration.time_to_first_tokens_iter) if iteration else (),
    )


def _waiting(scheduler: SchedulerStats) -> int:
    count: int = scheduler.num_waiting_reqs + scheduler.num_skipped_waiting_reqs
    return count
