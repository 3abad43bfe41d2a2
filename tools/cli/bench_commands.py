"""The commands of `./sluice bench`: each runs a measurement and prints what it saw."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from libs.contracts.lease import FrontEnd
from libs.contracts.model_spec import ModelSpec
from libs.engine.default_model import make_ready
from tools.bench.churn.command import churn_command
from tools.bench.churn.edges import Against, own_edge, running_edge
from tools.bench.churn.plan import ChurnPlan
from tools.bench.compare.command import (
    ALL_STACKS,
    Checkout,
    CompareOptions,
    CompareView,
    compare_command,
    new_folder,
)
from tools.bench.executor import ExecutorPlan, parse_sizes
from tools.bench.executor_command import executor_command
from tools.bench.join import measure_joins
from tools.bench.load.command import View as LoadView
from tools.bench.load.command import load_command
from tools.bench.load.options import DEFAULT_CLIENTS, LoadOptions
from tools.bench.load.plan import Endpoint
from tools.bench.load.traces import TraceFormat
from tools.bench.routing.command import Places as RoutingPlaces
from tools.bench.routing.command import RoutingOptions, routing_command
from tools.bench.routing.policies import DEFAULT_POLICIES
from tools.bench.startup import Startup, measure_startup
from tools.bench.view import View
from tools.cli.api_key import ApiKey, chosen_key, header_lines
from tools.cli.console import err, out, step
from tools.cli.endurance_commands import chaos, soak
from tools.cli.models_yaml import load_models
from tools.cli.settings import CliSettings
from tools.cli.stack.locate import ROOT, here
from tools.cli.stack.record import require

app = typer.Typer(help="Measure, on this machine.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of lines.")]


@app.callback()
def bench() -> None:
    """Measure, on this machine."""


@app.command()
def startup(
    rounds: Annotated[int, typer.Option(min=1, help="How often each of the two is started.")] = 1,
    timeout: Annotated[float, typer.Option(help="Seconds that one start may take.")] = 300.0,
    as_json: AsJson = False,
) -> None:
    """Time `up` to the first token against plain vLLM's own API server, one after the other."""
    models_dir = here(CliSettings()).models
    (spec,) = load_models(ROOT / "deploy" / "local" / "models.yaml")
    with step("model") as say:
        model = make_ready(models_dir, say)
    found = [_startup_round(number, spec, model, timeout) for number in range(1, rounds + 1)]
    if as_json:
        print(json.dumps({"rounds": [each.to_json() for each in found]}, indent=2))
        return
    for each in found:
        out.print(
            f"first token: plain vLLM {each.plain_vllm_s:.1f} s, sluice {each.sluice_s:.1f} s, "
            f"difference {each.difference_s:.1f} s"
        )


@app.command()
def load(
    *,
    url: Annotated[
        str | None, typer.Option(help="The server.", show_default="this stack's")
    ] = None,
    model: Annotated[str | None, typer.Option(help="A name that the server lists.")] = None,
    self_test: Annotated[
        bool, typer.Option(help="Ask a server that only streams: the generator's own ceiling.")
    ] = False,
    endpoint: Annotated[Endpoint, typer.Option(help="Which API is asked.")] = Endpoint.CHAT,
    stream: Annotated[bool, typer.Option(help="Ask for answers token by token.")] = True,
    clients: Annotated[
        int | None,
        typer.Option(help="Closed loop with N clients.", show_default=str(DEFAULT_CLIENTS)),
    ] = None,
    rate: Annotated[
        float | None, typer.Option(help="Open loop: requests a second, at random times.")
    ] = None,
    trace: Annotated[Path | None, typer.Option(help="Open loop: replay this trace.")] = None,
    trace_format: Annotated[
        TraceFormat | None, typer.Option("--format", help="The trace's.", show_default="by suffix")
    ] = None,
    speed: Annotated[float, typer.Option(help="Trace speed-up factor.")] = 1.0,
    prompt_tokens: Annotated[
        str, typer.Option(help="N, uniform:LOW:HIGH, lognormal:MEAN:SIGMA or exponential:MEAN.")
    ] = "128",
    output_tokens: Annotated[str, typer.Option(help="The same, for answers.")] = "64",
    prompt_tokens_max: Annotated[int | None, typer.Option(help="Cut longer prompts.")] = None,
    output_tokens_max: Annotated[int | None, typer.Option(help="Cut longer answers.")] = None,
    shared_prefix_tokens: Annotated[int, typer.Option(help="Every prompt's first words.")] = 0,
    body_bytes_min: Annotated[int, typer.Option(help="Fill shorter bodies up to this.")] = 0,
    exact_output: Annotated[
        bool | None,
        typer.Option(
            help="Ask for exact lengths as vLLM can.", show_default="if the server is vLLM"
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed sends the same requests.")] = 0,
    warmup_s: Annotated[float, typer.Option(help="Warm-up in seconds.")] = 0.0,
    duration_s: Annotated[
        float | None,
        typer.Option(help="Measurement in seconds.", show_default="30, or the whole trace"),
    ] = None,
    requests: Annotated[int | None, typer.Option(help="Send so many after the warm-up.")] = None,
    slo_ttft_s: Annotated[float | None, typer.Option(help="Goodput: first token by then.")] = None,
    slo_itl_s: Annotated[
        float | None, typer.Option(help="Goodput: an answer's mean time between tokens.")
    ] = None,
    header: Annotated[
        list[str] | None, typer.Option(help="'Name: value' for every request; repeatable.")
    ] = None,
    api_key: ApiKey = None,
    timeout_s: Annotated[float, typer.Option(help="For one whole answer.")] = 300.0,
    drain_s: Annotated[float, typer.Option(help="For the answers under way at the end.")] = 60.0,
    processes: Annotated[int, typer.Option(help="Generator processes.")] = 1,
    plot: Annotated[Path | None, typer.Option(help="Write PNG pictures into this folder.")] = None,
    as_json: AsJson = False,
) -> None:
    """Send load to a server and measure what its users would feel.

    Exit code 0: the figures are sound; 1: the generator was the limit, and why; 2: bad input.
    """
    options = LoadOptions(
        url=url,
        model=model,
        self_test=self_test,
        endpoint=endpoint,
        stream=stream,
        exact_output=exact_output,
        headers=header_lines(header or (), chosen_key(api_key, CliSettings())),
        clients=clients,
        rate=rate,
        trace=trace,
        trace_format=trace_format,
        speed=speed,
        prompt_tokens=prompt_tokens,
        output_tokens=output_tokens,
        prompt_tokens_max=prompt_tokens_max,
        output_tokens_max=output_tokens_max,
        shared_prefix_tokens=shared_prefix_tokens,
        body_bytes_min=body_bytes_min,
        seed=seed,
        warmup_s=warmup_s,
        duration_s=duration_s,
        requests=requests,
        slo_ttft_s=slo_ttft_s,
        slo_itl_s=slo_itl_s,
        timeout_s=timeout_s,
        drain_s=drain_s,
        processes=processes,
    )
    view = LoadView(out=out, err=err, as_json=as_json, plots=plot)
    raise typer.Exit(
        load_command(options, view, stack_url=lambda: require(here(CliSettings()).record).api_url)
    )


@app.command()
def compare(
    *,
    stacks: Annotated[
        str, typer.Option(help="Stacks to run; the first is compared with each of the others.")
    ] = ALL_STACKS,
    cases: Annotated[
        str | None,
        typer.Option(help="Loads to run.", show_default="all, with --quick the main one"),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="64 and 128 clients, two starts of each stack.")
    ] = False,
    rounds: Annotated[
        int | None,
        typer.Option(min=1, max=100, help="Starts of each stack.", show_default="3, quick 2"),
    ] = None,
    out_dir: Annotated[
        Path | None,
        typer.Option("--out", help="Results.", show_default="bench/ of the state folder"),
    ] = None,
    agree_with: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Hold every ratio against this earlier run's."),
    ] = None,
    as_markdown: Annotated[
        bool, typer.Option("--markdown", help="Print the tables as Markdown.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Compare Sluice with its peers: same simulated device, same load, one after the other.

    Exit code 0: every stack was measured; 1: one did not start, or a ratio differs from the
    earlier run's by more than 15 %; 2: bad input.
    """
    layout = here(CliSettings())
    folder = out_dir or new_folder(layout.var / "bench")
    view = CompareView(
        out=out, err=err, folder=folder.absolute(), as_json=as_json, as_markdown=as_markdown
    )
    checkout = Checkout(root=ROOT, models=layout.models, packages=layout.var / "peers")
    options = CompareOptions(
        stacks=stacks, cases=cases, rounds=rounds, quick=quick, agree_with=agree_with
    )
    raise typer.Exit(compare_command(options, view, checkout))


@app.command()
def join(
    count: Annotated[int, typer.Option(min=1, max=10_000, help="How many joins.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Time a replica's `ready` to the first request it answers, through the running stack.

    A small stand-in plays the replica; NATS, router-config and HAProxy are the stack's own.
    """
    layout = here(CliSettings())
    record = require(layout.record)
    with step(f"{count} joins"):
        report = measure_joins(
            count, api_url=record.api_url, credentials_file=layout.credentials("replica")
        )
    if as_json:
        print(json.dumps(report.to_json(), indent=2))
        return
    out.print(
        f"ready to first answer: p50 {report.p50_ms:.1f} ms, p99 {report.p99_ms:.1f} ms, "
        f"max {report.max_ms:.1f} ms over {len(report.latencies_ms)} joins, "
        f"{report.failed_requests} failed requests"
    )


@app.command()
def churn(
    *,
    cycles: Annotated[int, typer.Option(help="Joins and leaves.")] = 500,
    clients: Annotated[int, typer.Option(help="Clients that stream all the time.")] = 64,
    replicas: Annotated[int, typer.Option(help="Ready replicas between two cycles.")] = 4,
    against: Annotated[
        Against, typer.Option(help="An edge of its own without Ray, or the running stack's.")
    ] = Against.OWN,
    pace_s: Annotated[float, typer.Option(help="Seconds from one cycle to the next.")] = 0.36,
    output_tokens: Annotated[int, typer.Option(help="Tokens of each answer.")] = 20,
    token_s: Annotated[float, typer.Option(help="Seconds between two of them.")] = 0.05,
    slow_s: Annotated[float, typer.Option(help="A later first token counts as slow.")] = 1.0,
    as_json: AsJson = False,
) -> None:
    """Let replicas join and leave under streaming load; count what clients would notice.

    Small stand-ins play the replicas; NATS, router-config and HAProxy are real.
    Exit code 0: no request failed or broke, no reload; 1: one did; 2: bad input.
    """
    plan = ChurnPlan(
        cycles=cycles,
        clients=clients,
        replicas=replicas,
        pace_s=pace_s,
        output_tokens=output_tokens,
        token_s=token_s,
        slow_s=slow_s,
    )
    layout = here(CliSettings())
    edge = own_edge if against is Against.OWN else partial(running_edge, layout)
    view = View(out=out, err=err, as_json=as_json)
    raise typer.Exit(churn_command(plan, view, edge=edge))


@app.command()
def executor(
    tp: Annotated[str, typer.Option(help="Tensor parallel sizes.")] = "1,2",
    tokens: Annotated[int, typer.Option(help="Tokens of an answer: about as many steps.")] = 1000,
    step_ms: Annotated[float, typer.Option(help="What the simulated device takes.")] = 5.0,
    as_json: AsJson = False,
) -> None:
    """Compare vLLM's executors on a device that only takes time: mp, Ray's old one, RayExecutorV2.

    Exit code 0: all were measured; 1: one did not start; 2: bad input.
    """
    plan = ExecutorPlan(
        tensor_parallel_sizes=parse_sizes(tp), tokens=tokens, step_time_s=step_ms / 1000
    )
    raise typer.Exit(executor_command(plan, View(out=out, err=err, as_json=as_json)))


@app.command()
def routing(
    *,
    trace: Annotated[
        Path | None,
        typer.Option(help="Replay this one, in Mooncake's format.", show_default="a made-up one"),
    ] = None,
    policies: Annotated[
        str | None, typer.Option(help=f"Which, ratios are to the first.  [{DEFAULT_POLICIES}]")
    ] = None,
    replicas: Annotated[int, typer.Option(min=1, max=16, help="About 1 GB each.")] = 4,
    rounds: Annotated[int, typer.Option(min=1, max=100, help="Turns of each policy.")] = 3,
    requests: Annotated[int, typer.Option(min=2, help="Requests of one turn.")] = 600,
    skip: Annotated[int, typer.Option(min=0, help="Leave out the trace's first ones.")] = 0,
    rate: Annotated[float, typer.Option(min=0.01, help="Mean requests a second.")] = 20.0,
    block_tokens: Annotated[
        int, typer.Option(min=16, max=512, help="What a block of 512 tokens shrinks to.")
    ] = 16,
    output_tokens_max: Annotated[int, typer.Option(min=1, help="Cut longer answers.")] = 32,
    kv_blocks: Annotated[
        int, typer.Option(min=1, help="Blocks of the trace that a replica's cache holds.")
    ] = 1000,
    prefill_block_ms: Annotated[
        float, typer.Option(min=0.0, help="Time to compute one block of a prompt.")
    ] = 2.5,
    step_ms: Annotated[float, typer.Option(min=0.0, help="Time of a replica's step.")] = 5.0,
    seed: Annotated[int, typer.Option(min=0, help="Of prompts and of the made-up trace.")] = 0,
    offline: Annotated[
        bool, typer.Option("--offline", help="Only keep books: no servers, more policies.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Replay a trace with shared prefixes under each routing policy: cache hits, first tokens.

    vLLM's scheduler and prefix cache are real, the device is simulated, HAProxy's rules are ours.
    Exit code 0: every turn was made; 1: a replica failed; 2: bad input.
    """
    options = RoutingOptions(
        trace=trace,
        policies=policies,
        replicas=replicas,
        rounds=rounds,
        requests=requests,
        skip=skip,
        rate=rate,
        block_tokens=block_tokens,
        output_tokens_max=output_tokens_max,
        kv_blocks=kv_blocks,
        prefill_block_ms=prefill_block_ms,
        step_ms=step_ms,
        seed=seed,
        offline=offline,
    )
    places = RoutingPlaces(root=ROOT, models=here(CliSettings()).models)
    view = View(out=out, err=err, as_json=as_json)
    raise typer.Exit(routing_command(options, view, places))


@app.command("control-plane")
def control_plane(
    *,
    replicas: Annotated[int, typer.Option(help="Spread evenly over the models.")] = 1000,
    models: Annotated[int, typer.Option(help="Models, each in a pool of its own.")] = 64,
    names: Annotated[int, typer.Option(help="Models and aliases: entries of the map.")] = 100_000,
    rounds: Annotated[int, typer.Option(min=1, help="How often HAProxy is filled.")] = 5,
    changes: Annotated[int, typer.Option(min=1, help="Of each kind, in every round.")] = 5,
    as_json: AsJson = False,
) -> None:
    """Time router-config: everything applied to an empty HAProxy, and one change after that.

    NATS and HAProxy are real, the loop runs in this process, and there is no load.
    Exit code 0: every median is within its goal; 1: one is not; 2: bad input.
    """
    from tools.bench.control_plane.command import control_plane_command
    from tools.bench.control_plane.size import Size

    size = Size(replicas=replicas, models=models, names=names)
    view = View(out=out, err=err, as_json=as_json)
    raise typer.Exit(control_plane_command(size, view, rounds=rounds, changes=changes))


@app.command()
def edge(
    *,
    requests: Annotated[int, typer.Option(help="In one turn of one HAProxy.")] = 10_000,
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each HAProxy.")] = 7,
    body_bytes: Annotated[int, typer.Option(help="Of every request.")] = 4096,
    clients: Annotated[int, typer.Option(min=1, help="Connections that wait in turn.")] = 32,
    as_json: AsJson = False,
) -> None:
    """Compare HAProxy's CPU for one request with Sluice's rules and without, turn by turn.

    The configurations are the product's own; a HAProxy that only answers stands behind all.
    """
    from tools.bench.edge.cases import EdgePlan
    from tools.bench.edge.command import edge_command

    plan = EdgePlan(requests=requests, rounds=rounds, body_bytes=body_bytes, clients=clients)
    edge_command(plan, View(out=out, err=err, as_json=as_json))


@app.command()
def idle(
    *,
    seconds: Annotated[float, typer.Option(min=1.0, help="How long to measure.")] = 60.0,
    settle_s: Annotated[float, typer.Option(min=0.0, help="Wait this long before.")] = 20.0,
    replicas: Annotated[int, typer.Option(min=1, help="Of a simulated model.")] = 2,
    as_json: AsJson = False,
) -> None:
    """Show the CPU time of a stack that has nothing to do, by kind of process.

    Starts a stack of its own beside any that runs, lets it settle, measures, and stops it.
    """
    from tools.bench.idle.command import idle_command
    from tools.bench.idle.run import IdlePlan

    plan = IdlePlan(replicas=replicas, seconds=seconds, settle_s=settle_s)
    view = View(out=out, err=err, as_json=as_json)
    idle_command(plan, view, root=ROOT, models=here(CliSettings()).models)


@app.command()
def disconnect(
    *,
    trials: Annotated[int, typer.Option(min=1, help="Clients that leave each front end.")] = 50,
    step_ms: Annotated[float, typer.Option(help="Time of a token; no finer is measured.")] = 5.0,
    front_end: Annotated[
        FrontEnd | None, typer.Option(help="Measure this front end only.", show_default="both")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Time a client's leaving in mid-stream to the engine's last step for it.

    NATS, router-config, HAProxy and the replica are the product's own, the device is simulated.
    """
    from tools.bench.disconnect.command import disconnect_command
    from tools.bench.disconnect.measure import FRONT_ENDS, DisconnectPlan

    chosen = FRONT_ENDS if front_end is None else (front_end,)
    plan = DisconnectPlan(trials=trials, step_time_s=step_ms / 1000, front_ends=chosen)
    disconnect_command(plan, View(out=out, err=err, as_json=as_json))


app.command()(chaos)
app.command()(soak)


def _startup_round(number: int, spec: ModelSpec, model: Path, timeout_s: float) -> Startup:
    with step(f"round {number}"):
        return measure_startup(root=ROOT, spec=spec, model=model, timeout_s=timeout_s)
