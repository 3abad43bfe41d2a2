"""The tables of a comparison as docs/BENCHMARKS.md has them (pure)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from tools.bench.compare.results import Results
from tools.bench.compare.roles import OUTSIDE_ENGINE, Role
from tools.bench.compare.table import (
    COMPARED,
    CPU_COLUMNS,
    FIGURE_COLUMNS,
    RATIO_COLUMNS,
    cpu_rows,
    doubts,
    figure_rows,
    ratio_rows,
)

_LOWER_IS_BETTER: Final = frozenset(COMPARED) - {"tokens/s"}
_CODE: Final = frozenset({*(role.value for role in Role), OUTSIDE_ENGINE})

Rows = Callable[[Results, str], Sequence[Sequence[str]]]


def markdown(results: Results, *, others_ratio_max: float) -> str:
    """Return all tables; a ratio is bold where the first stack is the worse one."""
    if not results.points():
        return "Nothing was measured.\n"
    first = results.stacks(results.points()[0])[0].value
    legend = (
        f"`{first}`'s value over each other stack's: the median over {results.rounds} rounds with "
        f"the least and the greatest; bold where `{first}` is the worse one."
    )
    parts = [
        legend,
        _table(results, RATIO_COLUMNS, lambda *at: [_marked(row) for row in ratio_rows(*at)]),
        "Medians; `generator` is the load generator's share of the machine's CPUs:",
        _table(results, FIGURE_COLUMNS, figure_rows),
        "CPU ms per 1,000 tokens by role:",
        _table(results, CPU_COLUMNS, cpu_rows),
        *_doubts(results, others_ratio_max),
    ]
    return "\n\n".join(parts) + "\n"


def _table(results: Results, columns: Sequence[str], rows_of: Rows) -> str:
    """Return one table over all loads, with the load in its first column."""
    titles = ["load", *(f"`{each}`" if each in _CODE else each for each in columns)]
    rows = [
        [f"`{point}`", f"`{stack}`", *cells]
        for point in results.points()
        for stack, *cells in rows_of(results, point)
    ]
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _marked(row: Sequence[str]) -> list[str]:
    stack, *cells = row
    titled = zip(COMPARED, cells, strict=True)
    return [stack, *(f"**{cell}**" if _is_worse(title, cell) else cell for title, cell in titled)]


def _is_worse(title: str, cell: str) -> bool:
    try:
        ratio = float(cell.partition(" ")[0])
    except ValueError:
        return False
    return ratio > 1 if title in _LOWER_IS_BETTER else ratio < 1


def _doubts(results: Results, others_ratio_max: float) -> list[str]:
    lines = [
        f"- `{point}`, {line}"
        for point in results.points()
        for line in doubts(results, point, others_ratio_max=others_ratio_max)
    ]
    return ["To keep in mind:", "\n".join(lines)] if lines else []
