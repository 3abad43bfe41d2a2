"""`./sluice bench compare`: check what is asked, run it, show and keep what was found."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from libs.engine.default_model import make_ready
from libs.errors import UsageError
from tools.bench.compare.agreement import COLUMNS, DIFFERENCE_MAX, agree, pairs, read_results
from tools.bench.compare.cases import CASES, QUICK_CASES, Point, points_of
from tools.bench.compare.machine import CONDITIONS, describe, free_memory_bytes
from tools.bench.compare.markdown import markdown
from tools.bench.compare.peers import ready_packages
from tools.bench.compare.plots import plot
from tools.bench.compare.results import Results, details_json, to_json
from tools.bench.compare.run import Places, Watcher, run_visits
from tools.bench.compare.schedule import parse_stacks, schedule
from tools.bench.compare.stacks.port import StackName
from tools.bench.compare.stacks.rust_program import require_program
from tools.bench.compare.table import (
    CPU_COLUMNS,
    FIGURE_COLUMNS,
    RATIO_COLUMNS,
    cpu_rows,
    doubts,
    figure_rows,
    ratio_rows,
)

ALL_STACKS: Final = ",".join(StackName)
ROUNDS: Final = 3
QUICK_ROUNDS: Final = 2
INTERRUPTED: Final = 128 + signal.SIGINT
_FAILED: Final = 1
_OTHERS_RATIO_MAX: Final = 0.05
_PEERS: Final = (StackName.RAY, StackName.RAY_LEGACY)


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareOptions:
    """What the user asked for; None takes the default of `--quick` or of the full run.

    Attributes:
        agree_with: folder of an earlier run whose ratios this one's are held against.
    """

    stacks: str = ALL_STACKS
    cases: str | None = None
    rounds: int | None = None
    quick: bool = False
    agree_with: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareView:
    """Where the result goes: a person reads `out`, or JSON or Markdown on standard output."""

    out: Console
    err: Console
    folder: Path
    as_json: bool = False
    as_markdown: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkout:
    """Where the checkout is, and where models and packages are kept."""

    root: Path
    models: Path
    packages: Path


def compare_command(options: CompareOptions, view: CompareView, checkout: Checkout) -> int:
    """Run the comparison and return the exit code.

    Raises:
        UsageError: a stack or a case is not known, vLLM's Rust front end is asked for and missing,
            the folder cannot be written, or the earlier run cannot be read.
    """
    earlier = read_results(options.agree_with) if options.agree_with else None
    stacks = parse_stacks(options.stacks)
    points = _points(options)
    if StackName.VLLM_RUST in stacks:
        require_program()
    rounds = options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS)
    keeper = _Keeper(view.folder)
    places = _places(checkout, stacks, view)
    watcher = Watcher(say=lambda text: view.err.print(text, markup=False), keep=keeper.keep)
    # Also where a script's `&` has made this program deaf to Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        run_visits(schedule(stacks, points, rounds=rounds), places, watcher)
    except KeyboardInterrupt:
        show(keeper.results, points, view)
        view.err.print("interrupted: this is what was measured so far")
        return INTERRUPTED
    show(keeper.results, points, view)
    agreed = earlier is None or show_agreement(keeper.results, earlier, view)
    return 0 if agreed and not keeper.results.failures else _FAILED


def new_folder(parent: Path) -> Path:
    """Return a folder for the results of a run that begins; it is not made."""
    return parent / time.strftime("compare-%Y%m%d-%H%M%S")


def show(results: Results, points: Sequence[Point], view: CompareView) -> None:
    """Print the tables, the JSON or the Markdown, and write the pictures."""
    if view.as_json:
        print(json.dumps(to_json(results), indent=2))
    elif view.as_markdown:
        print(markdown(results, others_ratio_max=_OTHERS_RATIO_MAX), end="")
    else:
        _print_tables(results, points, view.out)
    pictures = plot(results, points, view.folder)
    written = [view.folder / "compare.json", view.folder / "details.json", *pictures]
    view.err.print(f"written: {', '.join(map(str, written))}", markup=False)
    for failure in results.failures:
        view.err.print(f"FAILED: {failure}", markup=False)


def show_agreement(here: Results, there: Results, view: CompareView) -> bool:
    """Print every ratio beside the earlier run's; return whether they agree."""
    found = pairs(here, there)
    rows = [pair.row() for pair in found]
    view.err.print(_table("this run and the earlier one", COLUMNS, rows))
    apart = [pair for pair in found if pair.difference > DIFFERENCE_MAX]
    view.err.print(
        f"{len(apart)} of {len(found)} ratios differ by more than {DIFFERENCE_MAX:.0%}",
        markup=False,
    )
    return agree(found)


class _Keeper:
    """Writes the results after every load, so that an end of any kind keeps them."""

    def __init__(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._folder = folder
            self._machine = describe()
            self.keep(Results())
        except OSError as exc:
            raise UsageError(f"cannot write to {folder}: {exc.strerror}") from exc

    def keep(self, results: Results) -> None:
        self.results = results
        self._write("compare.json", to_json(results))
        details: dict[str, object] = {
            "machine": self._machine,
            "conditions": " ".join(CONDITIONS),
            "failures": results.failures,
            "measurements": details_json(results),
        }
        self._write("details.json", details)

    def _write(self, name: str, tree: dict[str, object]) -> None:
        scratch = self._folder / f".{name}.new"
        scratch.write_text(json.dumps(tree, indent=2) + "\n")
        scratch.replace(self._folder / name)


def _points(options: CompareOptions) -> tuple[Point, ...]:
    default = QUICK_CASES if options.quick else CASES
    named = default if options.cases is None else _names(options.cases)
    return points_of(named, quick=options.quick, memory_bytes=free_memory_bytes())


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _places(checkout: Checkout, stacks: Sequence[StackName], view: CompareView) -> Places:
    def say(text: str) -> None:
        view.err.print(text, markup=False)

    lock_file = checkout.root / "requirements" / "peers.lock"
    needs_packages = any(stack in _PEERS for stack in stacks)
    logs = view.folder / "log"
    logs.mkdir(exist_ok=True)
    return Places(
        root=checkout.root,
        model=make_ready(checkout.models, say),
        peer_packages=(
            ready_packages(lock_file, checkout.packages, say)
            if needs_packages
            else checkout.packages
        ),
        logs=logs,
    )


def _print_tables(results: Results, points: Sequence[Point], out: Console) -> None:
    titles = {point.name: point.title for point in points}
    for name in results.points():
        title = f"{name}: {titles[name]}"
        out.print(_table(title, FIGURE_COLUMNS, figure_rows(results, name)))
        cpu_title = "CPU ms per 1,000 tokens by role"
        out.print(_table(cpu_title, CPU_COLUMNS, cpu_rows(results, name)))
        if compared := ratio_rows(results, name):
            ratio_title = f"{results.stacks(name)[0]}'s value over the others'"
            out.print(_table(ratio_title, RATIO_COLUMNS, compared))
        for line in doubts(results, name, others_ratio_max=_OTHERS_RATIO_MAX):
            out.print(f"  ! {line}", markup=False)
        out.print()
    for line in CONDITIONS:
        out.print(line, markup=False)


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    for row in rows:
        table.add_row(*row)
    return table
