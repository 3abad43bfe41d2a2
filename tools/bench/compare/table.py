"""The rows that a person sees, in a terminal or in a document (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tools.bench.compare.results import GENERATOR, Measurement, Results, Spread, middle
from tools.bench.compare.roles import OUTSIDE_ENGINE, Role
from tools.bench.compare.stacks.port import StackName

_NOTHING: Final = "-"

FIGURE_COLUMNS: Final = (
    "stack",
    "tokens/s",
    "req/s",
    "TTFT p50",
    "p99 ms",
    "between p50",
    "p99 ms",
    "whole p99 ms",
    "generator",
    "errors",
)
CPU_COLUMNS: Final = ("stack", *(role.value for role in Role), OUTSIDE_ENGINE)

COMPARED: Final = {
    "tokens/s": "tokens_per_s",
    "TTFT p99": "ttft_p99_s",
    "whole p99": "e2e_p99_s",
    "CPU outside the engine": OUTSIDE_ENGINE,
}
"""The ratios, by the title of their column."""

RATIO_COLUMNS: Final = ("over", *COMPARED)


def figure_rows(results: Results, point: str) -> list[tuple[str, ...]]:
    """Return one row a stack."""
    return [_figure_row(results, point, stack) for stack in results.stacks(point)]


def cpu_rows(results: Results, point: str) -> list[tuple[str, ...]]:
    """Return CPU milliseconds per 1,000 tokens by role, one row a stack."""
    return [_cpu_row(results, point, stack) for stack in results.stacks(point)]


def ratio_rows(results: Results, point: str) -> list[tuple[str, ...]]:
    """Return the first stack's values over each other stack's, one row a stack."""
    first, *others = results.stacks(point)
    return [
        (
            other.value,
            *(ratio_text(results.ratio(point, first, other, what)) for what in COMPARED.values()),
        )
        for other in others
    ]


def doubts(results: Results, point: str, *, others_ratio_max: float) -> list[str]:
    """Say which figures of a load are not sound, or were taken on a busy machine."""
    lines = []
    for stack in results.stacks(point):
        found = results.of(point, stack)
        lines += [f"{stack}: {reason}" for each in found for reason in each.refused]
        worst = max(each.others_ratio for each in found)
        if worst > others_ratio_max:
            lines.append(f"{stack}: others used up to {worst:.0%} of the machine's CPUs meanwhile")
    return lines


def ratio_text(spread: Spread | None) -> str:
    """Write a ratio with its spread over rounds."""
    if spread is None:
        return _NOTHING
    if f"{spread.least:.2f}" == f"{spread.greatest:.2f}":
        return f"{spread.median:.2f}"
    return f"{spread.median:.2f} ({spread.least:.2f}-{spread.greatest:.2f})"


def _figure_row(results: Results, point: str, stack: StackName) -> tuple[str, ...]:
    found = results.of(point, stack)
    share = middle(found, GENERATOR)
    return (
        stack.value,
        _number(found, "tokens_per_s", 0),
        _number(found, "requests_per_s", 1),
        _milliseconds(found, "ttft_p50_s"),
        _milliseconds(found, "ttft_p99_s"),
        _milliseconds(found, "itl_p50_s"),
        _milliseconds(found, "itl_p99_s"),
        _milliseconds(found, "e2e_p99_s"),
        _NOTHING if share is None else f"{share:.1%}",
        f"{sum(each.errors for each in found):,}",
    )


def _cpu_row(results: Results, point: str, stack: StackName) -> tuple[str, ...]:
    found = results.of(point, stack)
    return stack.value, *(_number(found, role, 0) for role in (*Role, OUTSIDE_ENGINE))


def _number(found: Sequence[Measurement], what: str, digits: int) -> str:
    value = middle(found, what)
    return _NOTHING if value is None else f"{value:,.{digits}f}"


def _milliseconds(found: Sequence[Measurement], what: str) -> str:
    value = middle(found, what)
    return _NOTHING if value is None else f"{value * 1000:,.1f}"
