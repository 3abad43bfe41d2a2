"""Runs a test suite with pytest itself, where there is no Bazel."""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from tools.build.junit import Tally, tally
from tools.build.suites import Suite

EXIT_NO_TESTS = 5
PLUGIN_FOLDER = "libs/engine/plugin"


@dataclass(frozen=True, slots=True, kw_only=True)
class PytestRunner:
    """Runs pytest in one checkout. deadline is on the monotonic clock."""

    root: Path
    environ: Mapping[str, str]
    say: Callable[[str], None]
    deadline: float

    def run(self, suite: Suite, expression: str | None) -> Tally:
        """Runs one suite to its end, or to the deadline."""
        with tempfile.TemporaryDirectory(prefix="sluice-test-") as scratch:
            report = Path(scratch) / "report.xml"
            command = [sys.executable, "-m", "pytest", f"tests/{suite}", f"--junitxml={report}"]
            if expression is not None:
                command += ["-k", expression]
            return self._verdict(suite, self._wait(command), report)

    def _wait(self, command: list[str]) -> int | None:
        """Returns pytest's exit code, None past the deadline."""
        path = f"{self.root}:{self.root / PLUGIN_FOLDER}"
        try:
            done = subprocess.run(
                command,
                cwd=self.root,
                env={**self.environ, "PYTHONPATH": path, "PYTHONSAFEPATH": "1"},
                stdin=subprocess.DEVNULL,
                timeout=max(1.0, self.deadline - monotonic()),
                check=False,
            )
        except subprocess.TimeoutExpired:
            return None
        return done.returncode

    def _verdict(self, suite: Suite, code: int | None, report: Path) -> Tally:
        if code is None:
            return Tally(failed=(f"{suite} tests (the run's time was up)",))
        if code == EXIT_NO_TESTS:
            return Tally()
        counted = tally(report.read_text("utf-8")) if report.exists() else Tally()
        if code == 0 or counted.failed:
            return counted
        return counted + Tally(failed=(f"{suite} tests (pytest ended with code {code})",))
