"""The failure table of docs/ARCHITECTURE.md, made of the catalogue.

`python -m tools.bench.chaos.failure_table` writes it; a test holds that it is up to date.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tools.bench.chaos.faults import Fault, Kill, Stop, catalogue

DOCUMENT: Final = Path(__file__).resolve().parents[3] / "docs" / "ARCHITECTURE.md"
BEGIN: Final = "<!-- made by tools/bench/chaos/failure_table.py -->"
END: Final = "<!-- end of what is made -->"

_HEADS: Final = ("what happens", "what clients notice at most", "what mends it", "right within")


def failure_table(faults: Sequence[Fault]) -> str:
    """Return the table as Markdown (pure): stopped processes share one line."""
    stops = [each for each in faults if isinstance(each.action, Stop) and not each.words]
    rows = [_row(_words(each), each) for each in faults if each not in stops]
    if stops:
        slowest = max(stops, key=lambda each: each.bound_s)
        rows.append(_row(_words(slowest), slowest))
    rule = "| " + " | ".join("---" for _ in _HEADS) + " |"
    return "\n".join(["| " + " | ".join(_HEADS) + " |", rule, *rows])


def replaced(document: str, table: str) -> str:
    """Return the document with the table between its two marks (pure).

    Raises:
        ValueError: a mark is missing.
    """
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{BEGIN} and {END} must both be there")
    return f"{before}{BEGIN}\n\n{table}\n\n{END}{after}"


def _row(words: str, fault: Fault) -> str:
    return f"| {words} | {fault.cost.value} | {fault.brings_back} | {fault.bound_s:g} s |"


def _words(fault: Fault) -> str:
    match fault.action:
        case Kill(target=target):
            return f"{target.value} is killed"
        case Stop(for_s=for_s) if not fault.words:
            return f"any process is stopped (SIGSTOP) for {for_s:g} s"
        case _:
            return fault.words


def main() -> None:
    """Write the table into the document."""
    DOCUMENT.write_text(replaced(DOCUMENT.read_text(), failure_table(catalogue())))


if __name__ == "__main__":
    main()
