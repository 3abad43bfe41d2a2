"""Goes through the schedule: start, warm, measure, stop; keeps what it has after every load."""

from __future__ import annotations

import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from libs.contracts.ids import model_name
from libs.contracts.model_spec import Device, EngineSpec, ModelSpec, ScalingSpec, SimulationSpec
from libs.engine.default_model import BUILTIN_MODEL
from libs.errors import ControlPlaneError
from tools.bench.compare.cases import Point
from tools.bench.compare.measure import load_plan, measure
from tools.bench.compare.results import Measurement, Results
from tools.bench.compare.schedule import Visit
from tools.bench.compare.stacks.choose import choose
from tools.bench.compare.stacks.port import Setup, Stack

MODEL: Final = model_name("simulated")
_CONTEXT_TOKENS: Final = 4096
_SEQUENCES: Final = 64
_START_S: Final = 600.0
_WARM: Final = Point(name="warm", case="warm", title="", clients=32, warmup_s=0.0, window_s=4.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where things are.

    Attributes:
        model: folder of tokenizer and configuration. peer_packages: import folder for the peers.
        logs: what the stacks print, one file a start.
    """

    root: Path
    model: Path
    peer_packages: Path
    logs: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Watcher:
    """Is told what happens: in words, and after each measurement."""

    say: Callable[[str], None]
    keep: Callable[[Results], None]


def run_visits(visits: tuple[Visit, ...], places: Places, watcher: Watcher) -> Results:
    """Make all visits; a stack that does not start is noted, and the others go on.

    Ctrl-C and SIGTERM stop what runs and raise KeyboardInterrupt; `watcher.keep` has the results.
    """
    results = Results()
    for number, visit in enumerate(visits, start=1):
        watcher.say(f"[{number}/{len(visits)}] round {visit.round}: {visit.stack}")
        try:
            _visit(visit, places, watcher, results)
        except ControlPlaneError as exc:
            results.failures.append(f"{visit.stack}, round {visit.round}: {exc}")
            watcher.say(f"  {results.failures[-1]}")
        watcher.keep(results)
    return results


def simulated_spec(replicas: int) -> ModelSpec:
    """Return the model that every stack serves."""
    return ModelSpec(
        name=MODEL,
        source=f"builtin:{BUILTIN_MODEL}",
        device=Device.SIMULATED,
        engine=EngineSpec(max_model_len=_CONTEXT_TOKENS, max_num_seqs=_SEQUENCES),
        scaling=ScalingSpec(min=replicas, max=replicas),
        simulation=SimulationSpec(),
    )


def _visit(visit: Visit, places: Places, watcher: Watcher, results: Results) -> None:
    began_s = time.monotonic()
    with _running(visit, places) as stack:
        watcher.say(f"  started in {time.monotonic() - began_s:.0f} s")
        measure(stack, load_plan(_WARM, url=stack.url, model=MODEL, seed=0), threading.Event())
        for index, point in enumerate(visit.points, start=1):
            seed = visit.round * len(visit.points) + index
            plan = load_plan(point, url=stack.url, model=MODEL, seed=seed)
            found = measure(stack, plan, threading.Event())
            results.add(point.name, visit.stack, visit.round, found)
            watcher.say(f"  {point.name}: {_said(found)}")
            watcher.keep(results)


@contextmanager
def _running(visit: Visit, places: Places) -> Iterator[Stack]:
    """Start a stack in a short folder of its own, and leave nothing of it."""
    folder = Path(tempfile.mkdtemp(prefix="slc-", dir="/tmp"))
    log_file = places.logs / f"{visit.stack}-{visit.round}-{visit.replicas}.log"
    setup = Setup(
        root=places.root,
        spec=simulated_spec(visit.replicas),
        model=places.model,
        folder=folder,
        log_file=log_file,
        peer_packages=places.peer_packages,
        timeout_s=_START_S,
    )
    stack = choose(visit.stack, setup)
    try:
        stack.start()
        yield stack
    finally:
        with undisturbed():
            stack.stop()
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Let nobody interrupt the stopping: another Ctrl-C would leave processes behind."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in _ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


_ENDING: Final = (signal.SIGINT, signal.SIGTERM)


def _said(found: Measurement) -> str:
    rate, first = found.figures.tokens_per_s or 0.0, found.figures.ttft_p99_s or 0.0
    cost = (found.cpu_ms_per_1k_tokens or {}).get("outside_engine", 0.0)
    return (
        f"{rate:,.0f} tokens/s, TTFT p99 {first * 1000:,.0f} ms, {cost:,.0f} ms CPU per 1,000 "
        f"tokens outside the engine, {found.errors} errors, generator "
        f"{found.generator_cpu_ratio or 0.0:.1%}, others {found.others_ratio:.0%}"
    )
