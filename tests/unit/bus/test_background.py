"""Work that lives as long as a body."""

from __future__ import annotations

import asyncio
from typing import Never

import pytest

from libs.bus.background import running


class StubbornWork:
    """Swallows its first cancellation, as a client library may."""

    ended = False

    async def run(self) -> Never:
        """Run until cancelled twice."""
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0)
        try:
            await asyncio.Event().wait()
        finally:
            self.ended = True
        raise AssertionError


async def test_work_ends_with_the_body_even_when_it_swallows_a_cancellation() -> None:
    """Leaving the body never hangs."""
    work = StubbornWork()

    async with asyncio.timeout(2), running(work.run()):
        await asyncio.sleep(0)

    assert work.ended


async def test_errors_of_the_body_come_out_as_they_are() -> None:
    """No exception group around them."""
    with pytest.raises(KeyError):
        async with running(StubbornWork().run()):
            raise KeyError


async def test_work_that_dies_of_a_bug_ends_the_body() -> None:
    """A service must not go on with a dead part."""

    async def broken() -> Never:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        async with running(broken()):
            await asyncio.Event().wait()
