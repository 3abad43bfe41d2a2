"""The test suites: what each holds, and how long it may take.

A suite is a folder under tests/ and the same package tree in Bazel. They run in this order, so that
the cheap ones speak first.
"""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Suite(StrEnum):
    """A folder under tests/."""

    UNIT = "unit"
    CONTRACT = "contract"
    INTEGRATION = "integration"
    E2E = "e2e"
    FAULT = "fault"


# They start the whole stack with the real model.
WHOLE_STACK = frozenset({Suite.E2E, Suite.FAULT})


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What to run: the suites, and pytest's -k expression within them (None: all tests)."""

    suites: tuple[Suite, ...]
    expression: str | None = None

    @property
    def needs_model(self) -> bool:
        """Whether a suite of the selection serves the real model."""
        return not WHOLE_STACK.isdisjoint(self.suites)


def select(
    root: Path, *, only: Suite | None, whole_stack: bool, expression: str | None
) -> Selection:
    """Returns the suites that were asked for and that have tests below root."""
    wanted = (
        [only] if only else [suite for suite in Suite if whole_stack or suite not in WHOLE_STACK]
    )
    present = [suite for suite in wanted if any((root / "tests" / suite).rglob("test_*.py"))]
    return Selection(suites=tuple(present), expression=expression)
