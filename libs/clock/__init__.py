"""Time as an argument: what a service needs of a clock, and the machine's own clock.

`libs/testing/clock.py` has the other implementation, whose time only moves when a test says so.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol


class TimerHandle(Protocol):
    """A call that is due later."""

    def cancel(self) -> None:
        """Take the call back; taking it back twice or too late is no error."""
        ...


class Clock(Protocol):
    """Where time comes from."""

    def now(self) -> float:
        """Return the Unix time in seconds."""
        ...

    def monotonic(self) -> float:
        """Return seconds since some moment; they always grow, whatever becomes of the Unix time."""
        ...

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> TimerHandle:
        """Call back once, after `delay_s` seconds, on the running event loop."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        """Return the Unix time in seconds."""
        return time.time()

    def monotonic(self) -> float:
        """Return seconds since some moment; they always grow, whatever becomes of the Unix time."""
        return time.monotonic()

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> TimerHandle:
        """Call back once, after `delay_s` seconds, on the running event loop."""
        return asyncio.get_running_loop().call_later(delay_s, callback)


async def wait_for_event(clock: Clock, event: asyncio.Event, *, timeout_s: float) -> bool:
    """Wait until the event is set; False when `timeout_s` passed on this clock before."""
    if event.is_set():
        return True
    due = asyncio.Event()
    timer = clock.call_later(timeout_s, due.set)
    try:
        return await first_of(event, due) is event
    finally:
        timer.cancel()


async def first_of(*events: asyncio.Event) -> asyncio.Event:
    """Wait until one of the events is set and return the first of them that is."""
    waiting = [
        asyncio.ensure_future(event.wait())  # tidy: allow orphan-task - ended below, all of them
        for event in events
    ]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        return next(event for event in events if event.is_set())
    finally:
        for task in waiting:
            task.cancel()


async def sleep(clock: Clock, seconds: float) -> None:
    """Wait until this much time has passed on the clock."""
    due = asyncio.Event()
    timer = clock.call_later(seconds, due.set)
    try:
        await due.wait()
    finally:
        timer.cancel()
