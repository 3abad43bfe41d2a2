"""`./sluice bench chaos` and `./sluice bench soak`: options and help texts."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from tools.bench.view import View
from tools.cli.console import err, out
from tools.cli.settings import CliSettings
from tools.cli.stack.locate import here

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def chaos(
    *,
    minutes: Annotated[float, typer.Option(help="No new fault begins after this.")] = 10.0,
    seed: Annotated[int, typer.Option(min=0, help="The same seed, the same faults.")] = 0,
    replicas: Annotated[int, typer.Option(help="Of a simulated model.")] = 2,
    only: Annotated[
        str | None, typer.Option(metavar="NAME,...", help="Faults to choose from.")
    ] = None,
    list_faults: Annotated[
        bool, typer.Option("--list", help="Print the faults' names and what they may cost.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Kill, stop and starve every part of a stack under load, and judge what clients notice.

    Starts a stack of its own: TLS, a tenant, a simulated device, streams of seconds and of minutes.
    Exit code 0: everything held; 1: something did not, and what; 2: bad input.
    """
    from tools.bench.chaos.command import chaos_command, show_faults
    from tools.bench.chaos.plan import ChaosPlan, chosen

    view = View(out=out, err=err, as_json=as_json)
    if list_faults:
        show_faults(view)
        return
    plan = ChaosPlan(
        seconds=minutes * 60, seed=seed, replicas=replicas, faults=chosen(only, minutes=minutes)
    )
    layout = here(CliSettings())
    logs = layout.var / "bench" / f"chaos-{time.strftime('%Y%m%d-%H%M%S')}"
    raise typer.Exit(chaos_command(plan, view, models=layout.models, logs=logs))


def soak(
    *,
    hours: Annotated[float, typer.Option(help="How long.")] = 1.0,
    sample_s: Annotated[float, typer.Option(help="Seconds from one sample to the next.")] = 30.0,
    change_s: Annotated[
        float, typer.Option(help="Seconds from one change of names, tenants or replicas.")
    ] = 150.0,
    replicas: Annotated[int, typer.Option(min=1, help="Of a simulated model.")] = 2,
    clients: Annotated[int, typer.Option(min=1, help="That stream short answers.")] = 8,
    as_json: AsJson = False,
) -> None:
    """Load a stack for hours: does memory, files, threads or latency grow, part by part?

    Starts a stack of its own: TLS, a tenant, a simulated device; names, tenants, the certificate
    and replicas change now and then.
    Exit code 0: nothing grew and nothing failed; 1: something did, and what; 2: bad input.
    """
    from tools.bench.soak.command import soak_command
    from tools.bench.soak.run import SoakPlan

    plan = SoakPlan(
        seconds=hours * 3600,
        sample_s=sample_s,
        change_s=change_s,
        replicas=replicas,
        short_clients=clients,
    )
    view = View(out=out, err=err, as_json=as_json)
    raise typer.Exit(soak_command(plan, view, models=here(CliSettings()).models))
