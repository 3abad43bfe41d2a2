"""Whether an engine core is stuck, from what it says about once a second.

Two signs, and either is enough once it has lasted for the limit:

- It has work and ends no step. Work is a request that it follows, or a message that it has not
  read. A long prompt is computed in chunks, so even that ends steps.
- It says nothing. Its reports come from a thread that a long step does not hold up.

An engine that has never reported is unknown, and an idle one ends no step: neither is stuck.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

LOOK_MAX_S: Final = 1.0
"""More time than this between two looks counts as this much: who looks was held up as well."""

FIRST_STEP_FACTOR: Final = 10
"""How many times longer than any other step the first may take: kernels are compiled in it."""


@dataclass(slots=True)
class Absence:
    """How long a sign has been missing, counting only the time in which it was looked for.

    Times are monotonic, in seconds.
    """

    _last_look_s: float
    lasted_s: float = 0.0

    def look(self, now_s: float) -> None:
        """Count the time since the last look."""
        self.lasted_s += min(now_s - self._last_look_s, LOOK_MAX_S)
        self._last_look_s = now_s

    def reset(self) -> None:
        """Begin anew: the sign is there."""
        self.lasted_s = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What an engine core says of its work.

    Attributes:
        steps: that it has ended since it started.
        unfinished: requests that it follows, running or waiting.
        unread: messages of its front ends that it has not looked at.
    """

    steps: int
    unfinished: int
    unread: int

    @property
    def has_work(self) -> bool:
        """Whether a step has to end."""
        return self.unfinished > 0 or self.unread > 0


class StallWatch:
    """Follows one engine core."""

    def __init__(self, limit_s: float, now_s: float) -> None:
        """Take the limit; nothing is known yet."""
        self._limit_s = limit_s
        self._last: Progress | None = None
        self._step = Absence(now_s)
        self._report = Absence(now_s)

    def saw(self, progress: Progress) -> None:
        """Take a report in."""
        before, self._last = self._last, progress
        self._report.reset()
        if before is None or before.steps != progress.steps or not progress.has_work:
            self._step.reset()

    def look(self, now_s: float, *, is_excused: bool = False) -> str | None:
        """Say in which way it is stuck; None while it is not, or while nothing is known.

        `is_excused` says that it was asked for something that stops its steps.
        """
        self._step.look(now_s)
        self._report.look(now_s)
        if is_excused:
            self._step.reset()
            self._report.reset()
        if self._last is None:
            return None
        if self._report.lasted_s > self._limit_s:
            return f"the engine core has said nothing for {self._limit_s:g} s"
        if self._step.lasted_s > self._step_limit_s(self._last):
            return f"the engine core has ended no step for {self._step_limit_s(self._last):g} s"
        return None

    def _step_limit_s(self, last: Progress) -> float:
        return self._limit_s * (1 if last.steps else FIRST_STEP_FACTOR)
