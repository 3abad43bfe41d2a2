"""`./sluice bench load`: check the target, run the plan, show what was found."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from rich.console import Console

from libs.errors import UsageError
from tools.bench.load.ceiling import trivial_server
from tools.bench.load.display import progress_bar, tables
from tools.bench.load.options import LoadOptions, base_url, headers_of, plan_of
from tools.bench.load.plan import LoadPlan, OutputLength, Target
from tools.bench.load.plots import plot
from tools.bench.load.probe import choose_model, list_models, require_model
from tools.bench.load.result import LoadResult
from tools.bench.load.run import run_load

VALID: Final = 0
NOT_VALID: Final = 1
INTERRUPTED: Final = 128 + signal.SIGINT


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """How the result is shown.

    Attributes:
        as_json: print JSON to `out` instead of tables.
        plots: folder for pictures; None makes none.
        out, err: the result goes to one, the bar and the verdict to the other.
    """

    out: Console
    err: Console
    as_json: bool = False
    plots: Path | None = None


def load_command(options: LoadOptions, view: View, *, stack_url: Callable[[], str]) -> int:
    """Run a load and return the exit code; `stack_url` tells the running stack's URL.

    Raises:
        UsageError: the options, the trace or the target are not what they should be.
    """
    with ExitStack() as stack:
        if options.self_test:
            if options.url is not None:
                raise UsageError("--self-test and --url exclude each other; give one of them")
            options = replace(options, url=stack.enter_context(trivial_server()))
        plan = checked_plan(options, stack_url)
        tell = stack.enter_context(progress_bar(plan, view.err))
        result = run_load(plan, on_progress=tell)
    show(result, view)
    if result.is_interrupted:
        return INTERRUPTED
    return VALID if result.verdict.is_valid else NOT_VALID


def checked_plan(options: LoadOptions, stack_url: Callable[[], str]) -> LoadPlan:
    """Build the plan, with a target that answers and has the model.

    Raises:
        UsageError: something of it is not so.
    """
    url = base_url(options.url or stack_url())
    draft = plan_of(options, Target(url=url, model=""))
    headers = headers_of(options.headers)
    served = list_models(url, headers)
    model = choose_model(served, options.model)
    require_model(url, options.endpoint, headers, model=model, served=served)
    target = Target(
        url=url,
        model=model,
        endpoint=options.endpoint,
        stream=options.stream,
        output_length=_output_length(options.exact_output, served.output_length),
        headers=headers,
    )
    return draft.with_target(target)


def show(result: LoadResult, view: View) -> None:
    """Print the result, write its pictures, and say whether it can be trusted.

    Raises:
        UsageError: the folder for the pictures cannot be written.
    """
    if view.as_json:
        print(json.dumps(result.to_json(), indent=2))
    else:
        for table in tables(result):
            view.out.print(table)
    if view.plots is not None:
        try:
            written = plot(result, view.plots)
        except OSError as exc:
            raise UsageError(f"cannot write the pictures: {exc}") from exc
        view.err.print(f"pictures: {', '.join(map(str, written))}", markup=False)
    if result.is_interrupted:
        view.err.print("interrupted: this is what was seen so far")
    if result.is_full:
        view.err.print("ended early: no room for more samples; shorten the run or lower its rate")
    for reason in result.verdict.reasons:
        view.err.print(f"NOT VALID: {reason}", markup=False)
    for warning in result.verdict.warnings:
        view.err.print(f"warning: {warning}", markup=False)


def _output_length(asked: bool | None, known: OutputLength) -> OutputLength:  # noqa: FBT001 - tri-state option
    if asked is None:
        return known
    return OutputLength.EXACT if asked else OutputLength.AT_MOST
