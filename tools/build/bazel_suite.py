"""Runs a test suite under Bazel, tells what happens while it happens, and counts the results."""

import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep
from xml.etree import ElementTree as ET

from tools.build.bazel_events import NotBuilt, Outcome, TargetRun, outcomes
from tools.build.host import Bazel
from tools.build.junit import Tally, tally
from tools.build.suites import Suite

POLL_INTERVAL_S = 0.3
INTERRUPT_GRACE_S = 30.0
SHUTDOWN_TIMEOUT_S = 60.0

UI = (
    "--test_summary=none",
    "--curses=no",
    "--show_progress_rate_limit=20",
    "--noshow_loading_progress",
    "--ui_event_filters=-info",
)

# What a run under Bazel ends with: all passed, tests failed, no test matched.
EXIT_PASSED, EXIT_TESTS_FAILED, EXIT_NO_TESTS = 0, 3, 4


@dataclass(slots=True)
class EventTail:
    """Reads whole lines from a file that another program is writing."""

    path: Path
    _read_bytes: int = field(default=0)

    def lines(self) -> Iterator[str]:
        """Yields the lines that were completed since the last call."""
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            file.seek(self._read_bytes)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._read_bytes += len(line)
                yield line.decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class BazelRunner:
    """Runs Bazel in one workspace with one environment. deadline is on the monotonic clock."""

    root: Path
    bazel: Bazel
    environ: Mapping[str, str]
    say: Callable[[str], None]
    deadline: float

    def prepare(self) -> bool:
        """Loads and analyses one small target; whether Bazel and the packages are usable."""
        self.say("Preparing Bazel: laying out the packages of the lock")
        command = [
            self.bazel.program,
            "build",
            "--nobuild",
            *UI,
            "//tests/unit/build/...",
        ]
        done = subprocess.run(
            command,
            cwd=self.root,
            env=dict(self.environ),
            stdin=subprocess.DEVNULL,
            timeout=max(1.0, self.deadline - monotonic()),
            check=False,
        )
        return done.returncode == 0

    def run(self, suite: Suite, expression: str | None) -> Tally:
        """Runs one suite to its end, or to the deadline."""
        with tempfile.TemporaryDirectory(prefix="sluice-test-") as scratch:
            tail = EventTail(Path(scratch) / "events.json")
            running = self._start(suite, expression, tail.path)
            results: list[Tally] = []
            code = self._follow(running, tail, results)
            return sum(results, start=_verdict(suite, code, results))

    def shut_down(self) -> None:
        """Ends Bazel's server, which otherwise keeps hundreds of megabytes for hours."""
        command = [self.bazel.program, "shutdown"]
        subprocess.run(
            command,
            cwd=self.root,
            env=dict(self.environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=SHUTDOWN_TIMEOUT_S,
            check=False,
        )

    def _start(self, suite: Suite, expression: str | None, events: Path) -> subprocess.Popen[bytes]:
        matching = [] if expression is None else [f"--test_filter={expression}"]
        command = [
            self.bazel.program,
            "test",
            "--keep_going",
            f"--build_event_json_file={events}",
            *UI,
            *matching,
            f"//tests/{suite}/...",
        ]
        return subprocess.Popen(
            command, cwd=self.root, env=dict(self.environ), stdin=subprocess.DEVNULL
        )

    def _follow(
        self, running: subprocess.Popen[bytes], tail: EventTail, results: list[Tally]
    ) -> int | None:
        """Reports results until Bazel ends; returns its exit code, None past the deadline."""
        code: int | None = None
        while code is None and monotonic() < self.deadline:
            sleep(POLL_INTERVAL_S)
            code = running.poll()
            results.extend(self._report(outcome) for outcome in outcomes(tail.lines()))
        if code is None:
            _interrupt(running)
        return code

    def _report(self, outcome: Outcome) -> Tally:
        if isinstance(outcome, NotBuilt):
            self.say(f"  NOT BUILT  {outcome.label}: {outcome.reason}")
            return Tally(failed=(f"{outcome.label} ({outcome.reason})",))
        counted = count(outcome)
        how = "cached" if outcome.cached else f"{outcome.duration_s:.1f} s"
        word = "ok    " if counted.ok or outcome.passed else "FAILED"
        self.say(f"  {word}  {outcome.label}  {counted.line()}  ({how})")
        return counted


def count(tested: TargetRun) -> Tally:
    """Counts the cases of a target; one that failed without saying which counts as a case."""
    try:
        counted = tally(Path(tested.report).read_text("utf-8")) if tested.report else Tally()
    except (OSError, ET.ParseError):
        counted = Tally()
    if tested.passed or counted.failed:
        return counted
    return counted + Tally(failed=(f"{tested.label} ({tested.status.lower()})",))


def _verdict(suite: Suite, code: int | None, results: Sequence[Tally]) -> Tally:
    """Returns a failure where Bazel failed in a way that no target accounts for."""
    if code is None:
        return Tally(failed=(f"{suite} tests (the run's time was up)",))
    accounted = any(result.failed for result in results)
    if code in {EXIT_PASSED, EXIT_NO_TESTS} or accounted:
        return Tally()
    return Tally(failed=(f"{suite} tests (Bazel ended with code {code})",))


def _interrupt(running: subprocess.Popen[bytes]) -> None:
    """Ends Bazel the way Ctrl-C does, so that it ends the tests; then by force."""
    running.send_signal(signal.SIGINT)
    try:
        running.wait(INTERRUPT_GRACE_S)
    except subprocess.TimeoutExpired:
        running.kill()
        running.wait()


def bazel_environ(bazel: Bazel, python: Path, site: Path) -> dict[str, str]:
    """Returns the environment for Bazel itself: it reuses the packages that python has."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return {
        **inherited,
        "BAZEL_OFFLINE": "1" if bazel.standins else "0",
        "HOST_PYTHON": str(python),
        "PIP_PARSE_SITE_PACKAGES": str(site),
    }
