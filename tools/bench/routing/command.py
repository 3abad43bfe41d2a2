"""`./sluice bench routing`: prepare a trace, replay it under every policy, show what was found."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from rich.table import Table

from libs.engine.default_model import make_ready
from libs.errors import UsageError
from tools.bench.compare.stacks.port import Setup
from tools.bench.load.options import read_trace
from tools.bench.load.traces import TraceFormat, TraceRequest, parse_trace
from tools.bench.routing import table
from tools.bench.routing.fleet import running_fleet, scratch_folder
from tools.bench.routing.offline import Device, OfflineFigures, replay
from tools.bench.routing.policies import DEFAULT_POLICIES, parse_policies
from tools.bench.routing.results import Results
from tools.bench.routing.run import RoutingPlan, Watcher, run_rounds
from tools.bench.routing.scale import Scale, scaled
from tools.bench.routing.synthetic import BLOCK_TOKENS, mooncake_lines
from tools.bench.view import View

INTERRUPTED: Final = 128 + signal.SIGINT
OFFLINE_POLICIES: Final = (
    "round_robin,least_loaded,prefix_blocks:1,prefix_blocks:2,prefix_blocks:4,prefix_blocks:8,"
    "prefix_blocks:16,session,pinned:1/4/16/64,longest,prefix_blocks:1@150,pinned:1/4/16/64@150,longest@150"
)
_START_S: Final = 600.0
_CONTEXT_MAX: Final = 8192
"""What the built-in model's configuration allows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingOptions:
    """`./sluice bench routing` as the user wrote it; None takes a default.

    Attributes:
        trace: in Mooncake's format; None makes one up.
        offline: only do the bookkeeping, without servers.
    """

    trace: Path | None
    policies: str | None
    replicas: int
    rounds: int
    requests: int
    skip: int
    rate: float
    block_tokens: int
    output_tokens_max: int
    kv_blocks: int
    prefill_block_ms: float
    step_ms: float
    seed: int
    offline: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where the checkout is, and where models are kept."""

    root: Path
    models: Path


def routing_command(options: RoutingOptions, view: View, places: Places) -> int:
    """Run the measurement and return the exit code.

    Raises:
        UsageError: an option or the trace is not what it should be.
        ControlPlaneError: the replicas did not start, or one failed.
    """
    scale = _scale(options)
    requests = scaled(trace_of(options), scale)
    if options.offline:
        show_offline(_offline(options, requests), view)
        return 0
    plan = _plan(options, scale, requests)
    results = Results()
    try:
        _measure(plan, view, places, results)
    except KeyboardInterrupt:
        show(results, view)
        view.err.print("interrupted: these are the turns that were whole")
        return INTERRUPTED
    show(results, view)
    return 0


def trace_of(options: RoutingOptions) -> tuple[TraceRequest, ...]:
    """Return the whole trace, read or made up.

    Raises:
        UsageError: it cannot be read.
    """
    if options.trace is not None:
        return read_trace(options.trace, TraceFormat.MOONCAKE, BLOCK_TOKENS)
    lines = mooncake_lines(options.skip + options.requests, seed=options.seed)
    return parse_trace(lines, trace_format=TraceFormat.MOONCAKE, name="the made-up trace")


def show(results: Results, view: View) -> None:
    """Print the table or the JSON."""
    if view.as_json:
        print(json.dumps(results.to_json(), indent=2))
        return
    view.out.print(_table(table.COLUMNS, table.rows(results)))
    for doubt in table.doubts(results):
        view.out.print(f"  ! {doubt}", markup=False)


def show_offline(found: Sequence[OfflineFigures], view: View) -> None:
    """Print the table or the JSON of a replay without servers."""
    if view.as_json:
        print(json.dumps({"policies": [asdict(each) for each in found]}, indent=2))
        return
    view.out.print(_table(table.OFFLINE_COLUMNS, table.offline_rows(found)))


def _measure(plan: RoutingPlan, view: View, places: Places, results: Results) -> None:
    def say(text: str) -> None:
        view.err.print(text, markup=False)

    model = make_ready(places.models, say)
    # Also where a script's `&` has made this program deaf to Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with scratch_folder() as folder:
        setup = Setup(
            root=places.root,
            spec=plan.spec(),
            model=model,
            folder=folder,
            log_file=folder / "replicas.log",
            peer_packages=folder,
            timeout_s=_START_S,
        )
        say(f"starting {plan.replicas} simulated replicas")
        with running_fleet(setup) as fleet:
            asyncio.run(run_rounds(plan, fleet, Watcher(say=say, keep=results.turns.append)))


def _plan(options: RoutingOptions, scale: Scale, requests: tuple[TraceRequest, ...]) -> RoutingPlan:
    plan = RoutingPlan(
        trace=requests,
        scale=scale,
        policies=parse_policies(options.policies or DEFAULT_POLICIES),
        replicas=options.replicas,
        rounds=options.rounds,
        kv_blocks=options.kv_blocks,
        prefill_block_s=options.prefill_block_ms / 1000,
        step_s=options.step_ms / 1000,
        seed=options.seed,
    )
    longest = plan.spec().engine.max_model_len or 0
    if longest > _CONTEXT_MAX:
        advice = "lower --block-tokens"
        raise UsageError(
            f"the longest prompt has {longest} tokens, at most {_CONTEXT_MAX}; {advice}"
        )
    return plan


def _scale(options: RoutingOptions) -> Scale:
    return Scale(
        requests=options.requests,
        skip=options.skip,
        rate_per_s=options.rate,
        trace_block_tokens=BLOCK_TOKENS,
        block_tokens=options.block_tokens,
        output_tokens_max=options.output_tokens_max,
    )


def _offline(options: RoutingOptions, requests: tuple[TraceRequest, ...]) -> list[OfflineFigures]:
    block_s, step_s = options.prefill_block_ms / 1000, options.step_ms / 1000
    device = Device(capacity_blocks=options.kv_blocks, block_s=block_s, step_s=step_s)
    names = [name.strip() for name in (options.policies or OFFLINE_POLICIES).split(",")]
    return [replay(requests, name, replicas=options.replicas, device=device) for name in names]


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    made = Table()
    for number, column in enumerate(columns):
        made.add_column(column, justify="right" if number else "left")
    for row in rows:
        made.add_row(*row)
    return made
