"""The commands of `./sluice`: options, help texts and exit codes; the work is elsewhere."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys
import time
from pathlib import Path
from typing import Annotated, Final

import structlog
import typer
from pydantic import ValidationError

from libs.clock import SystemClock
from libs.contracts.targets import REPLICAS_MAX
from libs.errors import ControlPlaneError, PeerUnreachableError, UsageError
from tools.cli import bench_commands, tenant_commands
from tools.cli.api_key import ApiKey, chosen_key
from tools.cli.chat import Door, stream_answer
from tools.cli.console import err, fail, out, step
from tools.cli.declare import (
    await_effect,
    check_changes,
    read_models,
    set_manual_target,
    write_changes,
)
from tools.cli.effect import Expected, expected_of
from tools.cli.logs import files_for, follow, tail
from tools.cli.model_changes import ModelChanges, model_changes
from tools.cli.models_yaml import load_models
from tools.cli.observe import observe, without_bus
from tools.cli.settings import CliSettings
from tools.cli.stack.bus import make_buckets, stack_bus
from tools.cli.stack.down import down as stop_stack
from tools.cli.stack.layout import Layout
from tools.cli.stack.locate import ROOT, here
from tools.cli.stack.record import StackRecord, require
from tools.cli.stack.trust import trust
from tools.cli.status import Status, assemble
from tools.cli.status_table import tables

STATUS_WITHIN_S: Final = 20.0
"""Every answer of NATS has a limit of its own; a broken one could use up each of them."""

app = typer.Typer(
    name="sluice",
    help="Serve large language models: vLLM replicas stream straight to HAProxy.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(bench_commands.app, name="bench")
app.add_typer(tenant_commands.app, name="tenant")

DEFAULT_MODELS = ROOT / "deploy" / "local" / "models.yaml"
_INTERRUPTED = 128 + signal.SIGINT

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def main() -> None:
    """Run the command line; errors become one line and an exit code."""
    # What libraries log belongs to services; a person gets steps and one line on errors.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        app(prog_name="./sluice")
    except UsageError as exc:
        fail(str(exc), exit_code=exc.exit_code)
    except ControlPlaneError as exc:
        fail(str(exc), exit_code=1)
    except ValidationError as exc:
        first = exc.errors(include_url=False)[0]
        fail(f"SLUICE_{'_'.join(map(str, first['loc'])).upper()}: {first['msg']}", exit_code=2)
    except KeyboardInterrupt:
        fail("interrupted", exit_code=_INTERRUPTED)
    except BrokenPipeError:
        sys.stderr.close()


def _layout() -> Layout:
    return here(CliSettings())


@app.command()
def up(
    *,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Return when ready; otherwise Ctrl-C stops it.")
    ] = False,
    models: Annotated[Path, typer.Option(help="What to serve.")] = DEFAULT_MODELS,
    port: Annotated[int | None, typer.Option(help="The API's port.", show_default="8080")] = None,
    host: Annotated[
        str | None, typer.Option(help="The API's address; beyond loopback with a tenant or TLS.")
    ] = None,
    tls_certificate: Annotated[
        Path | None, typer.Option(help="PEM file with certificate, chain and key: serve HTTPS.")
    ] = None,
    timeout: Annotated[float, typer.Option(help="Seconds that the start may take.")] = 600.0,
    replicas: Annotated[
        int | None, typer.Option(min=1, help="Of every model.", show_default="as the file says")
    ] = None,
) -> None:
    """Start everything on this machine: NATS, HAProxy, Ray, one real model."""
    from tools.cli.stack.up import UpOptions
    from tools.cli.stack.up import up as start_stack

    settings, layout = CliSettings(), _layout()
    options = UpOptions(
        host=host or settings.api_host,
        port=settings.api_port if port is None else port,
        models_file=models,
        start_timeout_s=timeout,
        replicas=replicas,
        tls_certificate=tls_certificate or settings.tls_certificate,
        haproxy=settings.router_config_haproxy_binary,
        nats_server=settings.nats_server,
    )
    standing = asyncio.run(start_stack(layout, options))
    if standing.began is None:
        _greet(standing.record, layout, "Sluice is up")
    elif standing.began:
        _greet(standing.record, layout, f"Started again: {', '.join(standing.began)}. Sluice is up")
    else:
        _greet(standing.record, layout, "Sluice is running already")
    if standing.began is None and not detach:
        _stay(layout)


@app.command()
def down() -> None:
    """Stop everything that `up` started; no process and no open port is left."""
    with step("stopping") as say:
        stopped = stop_stack(_layout(), say)
    if not stopped.was_running:
        out.print("Sluice was not running.")
    for each in stopped.killed:
        err.print(f"had to kill {each.pid}: {each.command[:100]}", markup=False)


@app.command()
def status(as_json: AsJson = False) -> None:
    """Show models, replicas, the routing revision and reloads so far; exit code 1 on problems."""
    found = asyncio.run(_status(_layout()))
    if as_json:
        print(json.dumps(found.to_json(), indent=2))
    else:
        for part in tables(found, now=time.time()):
            out.print(part)
    for problem in found.problems:
        err.print(f"sluice: {problem}", markup=False)
    if found.problems:
        sys.exit(1)


@app.command()
def chat(
    question: Annotated[str, typer.Argument(help="What to ask.")],
    model: Annotated[str, typer.Option(help="A model's name or alias.")] = "default",
    temperature: Annotated[float, typer.Option(min=0.0, max=2.0)] = 0.0,
    max_tokens: Annotated[int, typer.Option(min=1)] = 256,
    api_key: ApiKey = None,
) -> None:
    """Ask a question and stream the answer."""
    layout = _layout()
    record = require(layout.record)
    pieces = stream_answer(
        Door(
            api_url=record.api_url,
            trusted=trust(layout, record),
            api_key=chosen_key(api_key, CliSettings()),
        ),
        model=model,
        question=question,
        temperature=temperature,
        max_tokens=max_tokens,
    )
    for piece in pieces:
        print(piece, end="", flush=True)
    print()


@app.command()
def apply(
    file: Annotated[Path, typer.Argument(help="A models file; see deploy/local/models.yaml.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the difference only.")] = False,
) -> None:
    """Declare models: check the file, show the difference, write it."""
    changes = asyncio.run(_apply(_layout(), file, dry_run=dry_run))
    for line in changes.lines():
        out.print(line, markup=False)
    if not changes:
        out.print("Nothing to change.")
    elif dry_run:
        out.print("Nothing was written (--dry-run).")


@app.command()
def scale(
    model: Annotated[str, typer.Argument(help="A model's name.")],
    replicas: Annotated[str, typer.Argument(help="A number, or `auto` for the autoscaler.")],
) -> None:
    """Set a model's number of replicas by hand, until `sluice scale MODEL auto`."""
    count = _count(replicas)
    name = asyncio.run(_scale(_layout(), model, count))
    said = "follows the autoscaler" if count is None else f"is held at {count} by hand"
    out.print(f"{name} {said}; watch it with `./sluice status`.")


@app.command()
def logs(
    service: Annotated[str | None, typer.Argument(help="One service; all of them without.")] = None,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="Lines of each.")] = 40,
    following: Annotated[bool, typer.Option("--follow", "-f", help="Go on as lines come.")] = False,
) -> None:
    """Print the services' logs."""
    paths = files_for(_layout(), service)
    for path in paths:
        for line in tail(path, lines):
            print(line if service else f"{path.stem:14} {line}")
    if following:
        for name, line in follow(paths):
            print(line if service else f"{name:14} {line}", flush=True)


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    add_help_option=False,
)
def test(context: typer.Context) -> None:
    """Run all the tests; `./sluice test --help` lists the options."""
    from tools.build.run_tests import main as run_tests

    sys.exit(run_tests(context.args))


def _greet(record: StackRecord, layout: Layout, headline: str) -> None:
    encrypted = record.tls_certificate is not None
    curl = (
        # A certificate rarely names the address under which this machine finds itself.
        f"curl -{'kN' if encrypted else 'N'} {record.api_url}/v1/chat/completions"
        " -H 'Content-Type: application/json' -d "
        """'{"model": "default", "stream": true, "messages": """
        """[{"role": "user", "content": "What is the capital of France?"}]}'"""
    )
    lines = [
        f"{headline}: {record.api_url}/v1",
        "",
        curl,
        "",
        f"logs    {layout.logs}  (./sluice logs)",
        f"traces  {layout.traces}",
        f"metrics {layout.prometheus_conf}  (for Prometheus; see deploy/grafana)",
        *([f"TLS     {record.tls_certificate}, followed as it changes"] if encrypted else []),
        "stop    ./sluice down",
    ]
    for line in lines:
        out.print(line, markup=False)


def _stay(layout: Layout) -> None:
    """Wait for Ctrl-C or SIGTERM, or for somebody else's `down`; then stop everything."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    out.print("Ctrl-C stops it.")
    try:
        while layout.record.exists():
            time.sleep(0.5)
    except KeyboardInterrupt:
        out.print()
        down()


async def _status(layout: Layout) -> Status:
    record = require(layout.record)
    try:
        async with asyncio.timeout(STATUS_WITHIN_S), stack_bus(layout) as bus:
            observed = await observe(bus, layout, clock=SystemClock(), since=record.started_at)
    except PeerUnreachableError as exc:
        observed = without_bus(layout, now=time.time(), cause=str(exc))
    except TimeoutError:
        cause = f"NATS at {record.nats_url} answers, but not within {STATUS_WITHIN_S:g} s"
        observed = without_bus(layout, now=time.time(), cause=cause)
    return assemble(observed, api_url=record.api_url, nats_url=record.nats_url)


async def _apply(layout: Layout, file: Path, *, dry_run: bool) -> ModelChanges:
    specs = load_models(file)
    if not dry_run:
        await make_buckets(layout)
    async with stack_bus(layout) as bus:
        stored = await read_models(bus)
        changes = model_changes(declared=specs, stored=stored.specs)
        check_changes(changes, layout)
        if not dry_run:
            await write_changes(bus, changes, stored)
        if changes and not dry_run:
            await await_effect(bus, expected_of(changes), clock=SystemClock())
    return changes


async def _scale(layout: Layout, model: str, count: int | None) -> str:
    async with stack_bus(layout) as bus:
        name = await set_manual_target(bus, model, count)
        await await_effect(bus, Expected(by_hand={name: count}), clock=SystemClock())
    return name


def _count(text: str) -> int | None:
    if text == "auto":
        return None
    if not (text.isascii() and text.isdecimal() and int(text[:9]) <= REPLICAS_MAX):
        raise UsageError(
            f"replicas must be a number up to {REPLICAS_MAX} or `auto`, not {text[:40]!r}"
        )
    return int(text)
