"""Lets the event loop rest after it has read, so that one waking reads many connections.

A generator with real-time priority otherwise interrupts a server on the same CPUs for every token
of every stream, and waking up costs more than reading.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

REST_S: Final = 0.0005
"""What arrives during a rest is stamped up to this much late; the run's `loop_lag` contains it."""


class Rest:
    """One loop's rests."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._loop = loop
        self._sleep = sleep
        self._is_due = False

    def after_reading(self) -> None:
        """Rest once, after everything that is there was read and the answered clients have sent."""
        if not self._is_due:
            self._is_due = True
            self._loop.call_soon(self._let_tasks_send)

    def _let_tasks_send(self) -> None:
        # Tasks whose answers ended in this turn were queued after this call, so they run before
        # the next one.
        self._loop.call_soon(self._rest)

    def _rest(self) -> None:
        self._sleep(REST_S)
        self._is_due = False
