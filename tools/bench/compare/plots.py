"""The two pictures over the number of clients: throughput, and the slowest first tokens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Final

from tools.bench.compare.cases import MAIN, Point
from tools.bench.compare.results import Measurement, Results, value_of
from tools.bench.compare.stacks.port import StackName

_SIZE_INCHES: Final = (8.0, 5.0)
_DPI: Final = 120


def plot(results: Results, points: Sequence[Point], folder: Path) -> list[Path]:
    """Write `throughput.png` and `ttft_p99.png`; nothing where the sweep was not measured."""
    measured = set(results.points())
    sweep = sorted(
        (point for point in points if point.case == MAIN and point.name in measured),
        key=lambda point: point.clients,
    )
    if not sweep:
        return []
    return [
        _picture(results, sweep, ("tokens_per_s", 1, "tokens/s"), folder / "throughput.png"),
        _picture(
            results,
            sweep,
            ("ttft_p99_s", 1000, "p99 of the time to first token, ms"),
            folder / "ttft_p99.png",
        ),
    ]


def _picture(
    results: Results, sweep: Sequence[Point], what: tuple[str, int, str], path: Path
) -> Path:
    from matplotlib.figure import Figure

    name, factor, label = what
    figure = Figure(figsize=_SIZE_INCHES, layout="constrained")
    axes = figure.subplots()
    for stack in StackName:
        found = [(point.clients, results.of(point.name, stack)) for point in sweep]
        lines = [(clients, *marker(each, name, factor)) for clients, each in found if each]
        if lines:
            clients, middle, low, high = zip(*lines, strict=True)
            axes.errorbar(clients, middle, yerr=(low, high), label=stack.value, marker="o")
    axes.set_xscale("log", base=2)
    axes.set_xticks([point.clients for point in sweep], [str(point.clients) for point in sweep])
    axes.set_xlabel("clients (streams of 32 tokens, 2 replicas; bars: least and most over rounds)")
    axes.set_ylabel(label)
    axes.set_ylim(bottom=0)
    axes.grid(visible=True, alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=_DPI)
    return path


def marker(found: Sequence[Measurement], name: str, factor: int) -> tuple[float, float, float]:
    """Return the median, and how far the least and the greatest lie from it."""
    values = [factor * (value_of(each, name) or 0.0) for each in found]
    middle = median(values)
    return middle, middle - min(values), max(values) - middle
