"""A clock whose time moves only when a test moves it."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

START_S: Final = 1_700_000_000.0


@dataclass(order=True, slots=True)
class _Timer:
    due_s: float
    number: int
    callback: Callable[[], None] = field(compare=False)
    cancelled: bool = field(default=False, compare=False)

    def cancel(self) -> None:
        """Take the call back."""
        self.cancelled = True


class FakeClock:
    """A `libs.clock.Clock` for tests: `advance` moves the time and fires what became due."""

    def __init__(self, start_s: float = START_S) -> None:
        """Start at a Unix time in seconds."""
        self._now_s = start_s
        self._jumped_s = 0.0
        self._timers: list[_Timer] = []
        self._numbers = itertools.count()

    def now(self) -> float:
        """Return the Unix time in seconds."""
        return self._now_s + self._jumped_s

    def monotonic(self) -> float:
        """Return the seconds that `advance` has moved the time by."""
        return self._now_s

    def jump(self, seconds: float) -> None:
        """Set the Unix time forwards or back, as a person or NTP does; no timer is due sooner."""
        self._jumped_s += seconds

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> _Timer:
        """Call back inside the `advance` that reaches `delay_s` from now."""
        timer = _Timer(self._now_s + delay_s, next(self._numbers), callback)
        heapq.heappush(self._timers, timer)
        return timer

    def advance(self, seconds: float) -> None:
        """Move the time; timers fire in the order in which they are due, each at its own time."""
        assert seconds >= 0, "time does not run backwards"
        end_s = self._now_s + seconds
        while self._timers and self._timers[0].due_s <= end_s:
            timer = heapq.heappop(self._timers)
            self._now_s = max(self._now_s, timer.due_s)
            if not timer.cancelled:
                timer.callback()
        self._now_s = end_s
