"""Waits for a moment to within some 50 us; asyncio's own timers round to whole milliseconds.

The kernel's timerfd becomes readable at an absolute time of the monotonic clock, and the event loop
waits for it like for a socket. Where there is none (not Linux), asyncio's timers serve.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
import time
from contextlib import suppress
from typing import Final

_TFD_TIMER_ABSTIME: Final = 1
_NS: Final = 1_000_000_000


class _TimeSpec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _TimerSpec(ctypes.Structure):
    _fields_ = (("interval", _TimeSpec), ("value", _TimeSpec))


class Alarm:
    """One waiter at a time; close it after use."""

    def __init__(self) -> None:
        self._fd = _timerfd() if sys.platform == "linux" else None

    async def until(self, at_monotonic_s: float) -> None:
        """Return at a time of `time.monotonic`, at once when it has passed."""
        if at_monotonic_s <= time.monotonic():
            return
        if self._fd is None:
            await asyncio.sleep(at_monotonic_s - time.monotonic())
            return
        loop, rung = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._fd, rung.set)
        try:
            _set(self._fd, at_monotonic_s)
            await rung.wait()
        finally:
            loop.remove_reader(self._fd)
            with suppress(BlockingIOError):
                os.read(self._fd, 8)

    def close(self) -> None:
        """Give the timer back to the kernel."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def _timerfd() -> int | None:
    created = ctypes.CDLL(None).timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
    return int(created) if created >= 0 else None


def _set(fd: int, at_s: float) -> None:
    seconds, nanoseconds = divmod(int(at_s * _NS), _NS)
    value = _TimerSpec(_TimeSpec(0, 0), _TimeSpec(seconds, nanoseconds))
    ctypes.CDLL(None).timerfd_settime(fd, _TFD_TIMER_ABSTIME, ctypes.byref(value), None)
