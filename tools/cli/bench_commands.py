"""The commands of `./sluice bench`: each runs a measurement and prints what it saw."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from libs.contracts.model_spec import ModelSpec
from libs.engine.default_model import make_ready
from tools.bench.startup import Startup, measure_startup
from tools.cli.console import out, step
from tools.cli.models_yaml import load_models
from tools.cli.settings import CliSettings
from tools.cli.stack.locate import ROOT, here

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


def _startup_round(number: int, spec: ModelSpec, model: Path, timeout_s: float) -> Startup:
    with step(f"round {number}"):
        return measure_startup(root=ROOT, spec=spec, model=model, timeout_s=timeout_s)
