"""Runs all the tests: under Bazel where there is one or one can be installed, else with pytest.

It ends with one line, `N passed, N failed, N skipped`, and exits with 0 only when tests ran and
none failed.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from tools.build import host
from tools.build.bazel_suite import BazelRunner, bazel_environ
from tools.build.direct_suite import PytestRunner
from tools.build.junit import Tally
from tools.build.suites import Selection, Suite, select

ROOT = Path(__file__).resolve().parents[2]
# Where tools/bazel has the tests look for it.
MODELS = ROOT / "var" / "models"
TIME_LIMIT_S = 45 * 60.0
MODEL_TIMEOUT_S = 900.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line asks for."""

    selection: Selection
    direct: bool
    deadline: float


def say(text: str) -> None:
    """Prints a line at once, so that it stands among the output of other programs in order."""
    print(text, flush=True)


def parse(arguments: Sequence[str]) -> Options:
    """Reads the command line. The time limit counts from here."""
    parser = argparse.ArgumentParser(prog="sluice test", description="Runs all the tests.")
    parser.add_argument(
        "-k", metavar="EXPR", dest="expression", help="tests that match, as pytest's -k"
    )
    parser.add_argument("--only", type=Suite, choices=list(Suite), help="one suite of tests")
    parser.add_argument(
        "--no-e2e", action="store_true", help="leave out what starts the whole stack"
    )
    parser.add_argument("--pytest", action="store_true", help="run pytest directly, without Bazel")
    parser.add_argument(
        "--time-limit-s", type=float, default=TIME_LIMIT_S, help="end the run after so many seconds"
    )
    given = parser.parse_args(arguments)
    selection = select(
        ROOT, only=given.only, whole_stack=not given.no_e2e, expression=given.expression
    )
    return Options(
        selection=selection, direct=given.pytest, deadline=monotonic() + given.time_limit_s
    )


def bazel_runner(options: Options, *, standins: bool | None = None) -> BazelRunner | None:
    """Returns a Bazel that works for this checkout, or None after saying why there is none."""
    found = host.find(say, os.environ)
    if isinstance(found, host.NoBazel):
        say(f"No Bazel: {found.why}.")
        return None
    if standins is not None:
        found = host.Bazel(program=found.program, standins=standins, why="the rules did not load")
    source = "stand-ins" if found.standins else "the internet"
    say(f"Bazel is {found.program}; external repositories come from {source} ({found.why}).")
    python = Path(sys.executable)
    runner = BazelRunner(
        root=ROOT,
        bazel=found,
        environ=bazel_environ(found, python, host.site_packages(python)),
        say=say,
        deadline=options.deadline,
    )
    if runner.prepare():
        return runner
    runner.shut_down()
    return None if found.standins else bazel_runner(options, standins=True)


def make_model_ready() -> None:
    """Makes the real model before the tests: they run without a network and must not write it.

    A failure is left to the tests that miss the model.
    """
    say("Making the model ready for the tests of the whole stack")
    command = [sys.executable, "-m", "libs.engine.default_model", "--models-dir", str(MODELS)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        timeout=MODEL_TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0:
        say(f"The model could not be made ready: {command[2]} ended with {done.returncode}.")


def run_suites(selection: Selection, run: Callable[[Suite, str | None], Tally]) -> Tally:
    """Runs the suites one after the other and returns the sum."""
    sum_of_all = Tally()
    for suite in selection.suites:
        started = monotonic()
        say(f"\n== {suite} ==")
        counted = run(suite, selection.expression)
        say(f"  {suite}: {counted.line()} in {monotonic() - started:.0f} s")
        sum_of_all += counted
    return sum_of_all


def run(options: Options) -> Tally:
    """Runs what the options select, under Bazel if there is a way."""
    if options.selection.needs_model:
        make_model_ready()
    runner = None if options.direct else bazel_runner(options)
    if runner is None:
        say("Running pytest directly, without Bazel's sandbox and cache.")
        environ = {**os.environ, "SLUICE_MODELS_DIR": str(MODELS)}
        direct = PytestRunner(root=ROOT, environ=environ, say=say, deadline=options.deadline)
        return run_suites(options.selection, direct.run)
    try:
        return run_suites(options.selection, runner.run)
    finally:
        runner.shut_down()


def summarise(result: Tally) -> None:
    """Prints what did not pass, with reasons, and the line that counts."""
    say("")
    for skip in result.skipped:
        say(f"skipped: {skip.test}: {skip.reason}")
    for name in result.failed:
        say(f"failed: {name}")
    if result.ran == 0:
        say("No test ran.")
    say(result.line())


def main(arguments: Sequence[str]) -> int:
    """Runs the tests and returns the exit code."""
    result = run(parse(arguments))
    summarise(result)
    return 0 if result.ok else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
