"""Ends this process when its event loop stands still, so that Serve replaces the replica.

Whatever blocks the loop blocks every stream and every check of the Python application, and nothing
on the loop can say so. Ending in order needs the loop; the engine core and the Rust program end
with this process in any case.
"""

from __future__ import annotations

import asyncio
import faulthandler
import os
import signal
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from libs.telemetry.logging import get_logger
from services.replica.domain.stall import LOOK_MAX_S, Absence

LOOP_BLOCKED_MAX_S: Final = 30.0
"""A loop of two thousand streams is late by a second or two; Serve gives up after 30 s as well."""

_LOOKS_PER_LIMIT: Final = 10

_log = get_logger(__name__)


@asynccontextmanager
async def guarded_loop(*, limit_s: float = LOOP_BLOCKED_MAX_S) -> AsyncIterator[None]:
    """Watch the running loop from a thread while the body runs."""
    guard = _Guard(asyncio.get_running_loop(), limit_s)
    thread = threading.Thread(target=guard.watch, name="sluice-loop-guard", daemon=True)
    thread.start()
    try:
        yield
    finally:
        guard.ended.set()


class _Guard:
    """Has the loop answer, and counts how long it does not."""

    def __init__(self, loop: asyncio.AbstractEventLoop, limit_s: float) -> None:
        self.ended = threading.Event()
        self._loop = loop
        self._limit_s = limit_s
        self._has_answered = threading.Event()

    def watch(self) -> None:
        absence = Absence(time.monotonic())
        self._ask()
        while not self.ended.wait(min(LOOK_MAX_S, self._limit_s / _LOOKS_PER_LIMIT)):
            absence.look(time.monotonic())
            if self._has_answered.is_set():
                absence.reset()
                self._ask()
            elif absence.lasted_s > self._limit_s:
                self._end_process()

    def _ask(self) -> None:
        self._has_answered.clear()
        try:
            self._loop.call_soon_threadsafe(self._has_answered.set)
        except RuntimeError:  # the loop is closed: nothing is left to watch
            self.ended.set()

    def _end_process(self) -> None:
        _log.error("event_loop_blocked", limit_s=self._limit_s)
        faulthandler.dump_traceback()
        os.kill(os.getpid(), signal.SIGKILL)
