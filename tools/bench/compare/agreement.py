"""Whether two runs of the comparison tell the same: every ratio of one beside the other's (pure).

A ratio is the first stack's value over another's, the median over rounds, as the tables show it.
Two runs differ in it by the greater over the smaller, less one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from libs.errors import UsageError
from tools.bench.compare.results import Figures, Measurement, Results
from tools.bench.compare.roles import OUTSIDE_ENGINE
from tools.bench.compare.stacks.port import StackName

RATIOS: Final = ("tokens_per_s", "ttft_p99_s", "e2e_p99_s", OUTSIDE_ENGINE)
"""The values that the tables show as ratios."""

DIFFERENCE_MAX: Final = 0.15
"""Two runs that differ more in any ratio do not agree."""

COLUMNS: Final = ("load", "over", "ratio of", "this run", "the other", "difference")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One ratio as both runs have it."""

    point: str
    stack: StackName
    what: str
    here: float
    there: float

    @property
    def difference(self) -> float:
        """Return how far apart they are, 0 for equal, whichever is the greater."""
        return max(self.here, self.there) / min(self.here, self.there) - 1

    def row(self) -> tuple[str, ...]:
        """Return what a table shows."""
        mark = " !" if self.difference > DIFFERENCE_MAX else ""
        numbers = (f"{self.here:.2f}", f"{self.there:.2f}", f"{self.difference:.0%}{mark}")
        return (self.point, self.stack.value, self.what, *numbers)


def pairs(here: Results, there: Results) -> tuple[Pair, ...]:
    """Return every ratio that both runs have, in the order of the tables."""
    found = []
    for point in here.points():
        first, *others = here.stacks(point)
        for stack in others:
            for what in RATIOS:
                mine = here.ratio(point, first, stack, what)
                theirs = there.ratio(point, first, stack, what)
                if mine and theirs:
                    pair = Pair(
                        point=point, stack=stack, what=what, here=mine.median, there=theirs.median
                    )
                    found.append(pair)
    return tuple(found)


def agree(found: Sequence[Pair]) -> bool:
    """Whether no ratio differs by more than `DIFFERENCE_MAX`."""
    return all(pair.difference <= DIFFERENCE_MAX for pair in found)


def read_results(folder: Path) -> Results:
    """Read an earlier run's `details.json`.

    Raises:
        UsageError: there is none in the folder, or it is no such file.
    """
    file = folder / "details.json"
    try:
        return parse(json.loads(file.read_text()))
    except OSError as exc:
        raise UsageError(f"cannot read {file}: {exc.strerror}") from exc
    except (ValueError, KeyError, TypeError) as exc:
        raise UsageError(f"{file} is no result of a comparison: {exc}") from exc


def parse(tree: dict[str, Any]) -> Results:
    """Read what `details_json` gave; raises ValueError, KeyError or TypeError for anything else."""
    results = Results(failures=list(tree["failures"]))
    for each in tree["measurements"]:
        found = Measurement(
            figures=Figures(**each["figures"]),
            errors=each["errors"],
            cpu_ms_per_1k_tokens=each["cpu_ms_per_1k_tokens"],
            others_ratio=each["others_ratio"],
            generator_cpu_ratio=each.get("generator_cpu_ratio"),
            requests=each.get("requests"),
            refused=tuple(each["refused"]),
        )
        results.add(each["case"], StackName(each["stack"]), each["round"], found)
    return results
