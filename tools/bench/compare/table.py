"""The rows that a person sees (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tools.bench.compare.results import Measurement, Results, Spread, middle
from tools.bench.compare.roles import OUTSIDE_ENGINE, Role
from tools.bench.compare.stacks.port import StackName

_NOTHING: Final = "-"

FIGURE_COLUMNS: Final = (
    "stack",
    "tokens/s",
    "ratio",
    "req/s",
    "TTFT p50",
    "p99 ms",
    "ratio",
    "between p50",
    "p99 ms",
    "whole p99 ms",
    "ratio",
    "errors",
)
CPU_COLUMNS: Final = ("stack", *(role.value for role in Role), OUTSIDE_ENGINE, "ratio")


def figure_rows(results: Results, point: str) -> list[tuple[str, ...]]:
    """Return one row a stack; a ratio is the stack's value over the first stack's."""
    stacks = results.stacks(point)
    return [_figure_row(results, point, stack, stacks[0]) for stack in stacks]


def cpu_rows(results: Results, point: str) -> list[tuple[str, ...]]:
    """Return CPU milliseconds per 1,000 tokens by role, one row a stack."""
    stacks = results.stacks(point)
    return [_cpu_row(results, point, stack, stacks[0]) for stack in stacks]


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
    if spread.least == spread.greatest:
        return f"{spread.median:.2f}"
    return f"{spread.median:.2f} ({spread.least:.2f}-{spread.greatest:.2f})"


def _figure_row(results: Results, point: str, stack: StackName, base: StackName) -> tuple[str, ...]:
    found = results.of(point, stack)

    def ratio(what: str) -> str:
        return ratio_text(results.ratio(point, stack, base, what))

    return (
        stack.value,
        _number(found, "tokens_per_s", 0),
        ratio("tokens_per_s"),
        _number(found, "requests_per_s", 1),
        _milliseconds(found, "ttft_p50_s"),
        _milliseconds(found, "ttft_p99_s"),
        ratio("ttft_p99_s"),
        _milliseconds(found, "itl_p50_s"),
        _milliseconds(found, "itl_p99_s"),
        _milliseconds(found, "e2e_p99_s"),
        ratio("e2e_p99_s"),
        f"{sum(each.errors for each in found):,}",
    )


def _cpu_row(results: Results, point: str, stack: StackName, base: StackName) -> tuple[str, ...]:
    found = results.of(point, stack)
    roles = [_number(found, role, 0) for role in (*Role, OUTSIDE_ENGINE)]
    return stack.value, *roles, ratio_text(results.ratio(point, stack, base, OUTSIDE_ENGINE))


def _number(found: Sequence[Measurement], what: str, digits: int) -> str:
    value = middle(found, what)
    return _NOTHING if value is None else f"{value:,.{digits}f}"


def _milliseconds(found: Sequence[Measurement], what: str) -> str:
    value = middle(found, what)
    return _NOTHING if value is None else f"{value * 1000:,.1f}"
