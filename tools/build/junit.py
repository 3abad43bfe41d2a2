"""Counts the test cases in JUnit reports."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from xml.etree import ElementTree as ET


@dataclass(frozen=True, slots=True, kw_only=True)
class Skip:
    """A test that did not run, and why."""

    test: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How many tests passed, which failed, which were skipped."""

    passed: int = 0
    failed: tuple[str, ...] = ()
    skipped: tuple[Skip, ...] = field(default=())

    @property
    def ran(self) -> int:
        """The number of tests that came to a verdict."""
        return self.passed + len(self.failed)

    @property
    def ok(self) -> bool:
        """Whether something ran and nothing failed."""
        return self.ran > 0 and not self.failed

    def __add__(self, other: "Tally") -> "Tally":
        """Returns the sum of two tallies."""
        return Tally(
            passed=self.passed + other.passed,
            failed=self.failed + other.failed,
            skipped=self.skipped + other.skipped,
        )

    def line(self) -> str:
        """Returns the line that ends a run."""
        return f"{self.passed} passed, {len(self.failed)} failed, {len(self.skipped)} skipped"


def total(tallies: Iterable[Tally]) -> Tally:
    """Returns the sum of many tallies."""
    return sum(tallies, start=Tally())


def tally(report: str) -> Tally:
    """Counts the cases of one report; a case that failed twice (teardown too) counts once.

    Raises:
        ET.ParseError: the report is cut off.
    """
    passed, failed, skipped = 0, [], []
    for case in ET.fromstring(report).iter("testcase"):  # noqa: S314 - our own test runner wrote it
        name = f"{case.get('classname', '')}::{case.get('name', '')}".removeprefix("::")
        if case.find("failure") is not None or case.find("error") is not None:
            failed.append(name)
        elif (skip := case.find("skipped")) is not None:
            skipped.append(Skip(test=name, reason=skip.get("message") or "no reason given"))
        else:
            passed += 1
    return Tally(passed=passed, failed=tuple(failed), skipped=tuple(skipped))
