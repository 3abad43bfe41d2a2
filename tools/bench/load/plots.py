"""Pictures of a run: where its latencies lie, and how it went over time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from tools.bench.load.result import LoadResult, Quantiles

_SIZE_INCHES: Final = (9.0, 5.0)
_TALL_INCHES: Final = (9.0, 8.0)
_DPI: Final = 120
_LEAST_MS: Final = 0.1


def plot(result: LoadResult, folder: Path) -> list[Path]:
    """Write `latency.png` and `timeline.png` into a folder, which is made; return their paths.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return [_latency(result, folder / "latency.png"), _timeline(result, folder / "timeline.png")]


def _latency(result: LoadResult, path: Path) -> Path:
    from matplotlib.figure import Figure

    figure = Figure(figsize=_SIZE_INCHES, layout="constrained")
    axes = figure.subplots()
    found = result.latency
    for name, quantiles in (
        ("inter-token", found.itl),
        ("time to first token", found.ttft),
        ("end to end", found.e2e),
    ):
        if quantiles is not None:
            axes.plot(_curve_ms(quantiles), np.linspace(0, 100, len(quantiles.curve)), label=name)
    axes.set_xscale("log")
    axes.set_xlabel("milliseconds from the intended send time (inter-token: between two)")
    axes.set_ylabel("percent at or below")
    axes.grid(visible=True, which="both", alpha=0.3)
    if axes.lines:
        axes.legend(loc="lower right")
    axes.set_title(_title(result))
    figure.savefig(path, dpi=_DPI)
    return path


def _curve_ms(quantiles: Quantiles) -> list[float]:
    # A logarithmic axis has no zero. Chunks that are read together have no gap between them.
    return [max(_LEAST_MS, value * 1000) for value in quantiles.curve]


def _timeline(result: LoadResult, path: Path) -> Path:
    from matplotlib.figure import Figure

    figure = Figure(figsize=_TALL_INCHES, layout="constrained")
    tokens, requests, ttft = figure.subplots(3, 1, sharex=True)
    series = result.series
    times = [(index + 0.5) * series.bin_s for index in range(len(series.tokens_per_s))]
    tokens.plot(times, series.tokens_per_s)
    tokens.set_ylabel("tokens/s")
    requests.plot(times, series.done_per_s, label="done")
    requests.plot(times, series.failed_per_s, label="failed", color="tab:red")
    requests.set_ylabel("requests/s")
    ttft.plot(times, _ms(series.ttft_p50_s), ".-", label="p50")
    ttft.plot(times, _ms(series.ttft_p99_s), ".-", label="p99")
    ttft.set_ylabel("time to first token, ms")
    ttft.set_xlabel("seconds from the start, warm-up included")
    for axes in (tokens, requests, ttft):
        axes.grid(visible=True, alpha=0.3)
        axes.set_ylim(bottom=0)
    requests.legend()
    ttft.legend()
    figure.suptitle(_title(result))
    figure.savefig(path, dpi=_DPI)
    return path


def _ms(values: Sequence[float]) -> list[float]:
    return [value * 1000 for value in values]


def _title(result: LoadResult) -> str:
    rates = result.throughput
    verdict = "" if result.verdict.is_valid else "  (NOT VALID)"
    return f"{rates.tokens_per_s:,.0f} tokens/s, {rates.requests_per_s:,.1f} requests/s{verdict}"
