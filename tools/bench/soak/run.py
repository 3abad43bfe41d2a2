"""One soak: clients stream, the stack is changed now and then, and everything is sampled."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from libs.errors import UsageError
from tools.bench.chaos.actions import act
from tools.bench.chaos.clients import clients, kinds
from tools.bench.chaos.faults import Action, Apply, ReplaceCertificate, Revoke, Scale
from tools.bench.chaos.footprint import read_footprint
from tools.bench.chaos.world import ChaosStackError, World
from tools.bench.soak.result import Reading, SoakResult, series_of
from tools.bench.soak.windows import WindowedLedger

_CHANGES: Final[tuple[Action, ...]] = (Apply(), Revoke(), ReplaceCertificate(), Scale())

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class SoakPlan:
    """What is done.

    Attributes:
        seconds: how long.
        sample_s: from one sample to the next; a window of latencies is as long.
        change_s: from one change of the stack to the next: names, tenants, certificate, replicas.

    Raises:
        UsageError: a value cannot be used.
    """

    seconds: float
    sample_s: float = 30.0
    change_s: float = 150.0
    replicas: int = 2
    short_clients: int = 8
    long_clients: int = 2

    def __post_init__(self) -> None:
        if self.seconds <= 0 or self.sample_s <= 0 or self.change_s <= 0:
            raise UsageError("a soak's times must be more than nothing")


@dataclass(slots=True, kw_only=True)
class _Soak:
    """A run and its parts."""

    plan: SoakPlan
    world: World
    say: Say
    ledger: WindowedLedger = field(default_factory=WindowedLedger)
    readings: list[Reading] = field(default_factory=list)
    turns: int = 0
    problems: list[str] = field(default_factory=list)

    async def sample(self, began_s: float) -> None:
        """Take a sample now and then, for ever."""
        while True:
            await asyncio.sleep(self.plan.sample_s)
            footprint = await asyncio.to_thread(read_footprint, self.world)
            at_s = time.monotonic() - began_s
            window = self.ledger.close_window()
            self.readings.append(Reading(at_s=at_s, footprint=footprint, window=window))
            self.say(_line(self.readings[-1], self.ledger))

    async def change(self) -> None:
        """Change the stack now and then, for ever; a replica that leaves fails no request."""
        for number, action in enumerate(itertools.cycle(_CHANGES)):
            await asyncio.sleep(self.plan.change_s)
            try:
                await act(action, self.world, at=(number % 1000) / 1000)
            except ChaosStackError as exc:
                self.problems.append(f"{type(action).__name__}: {exc}")
            self.turns += 1


async def run_soak(plan: SoakPlan, world: World, *, say: Say, stop: asyncio.Event) -> SoakResult:
    """Run a plan until its time is over, or `stop` is set, and return what was found."""
    soak = _Soak(plan=plan, world=world, say=say)
    began_s = time.monotonic()
    wanted = kinds(short=plan.short_clients, long=plan.long_clients)
    async with asyncio.TaskGroup() as tasks, clients(wanted, world.access, soak.ledger):
        beside = [tasks.create_task(soak.sample(began_s)), tasks.create_task(soak.change())]
        try:
            await _wait(stop, plan.seconds)
        finally:
            for task in beside:
                task.cancel()
    return SoakResult(
        seconds=time.monotonic() - began_s,
        series=series_of(soak.readings),
        ledger=soak.ledger,
        turns=soak.turns,
        problems_on_the_way=tuple(soak.problems),
        interrupted=stop.is_set(),
    )


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return


def _line(reading: Reading, ledger: WindowedLedger) -> str:
    memory = sum(use.memory_bytes for use in reading.footprint.parts.values()) / 2**20
    files = sum(use.files for use in reading.footprint.parts.values())
    first = reading.window.ttft_p99_s
    latency = "unknown" if first is None else f"{first * 1000:.0f} ms"
    return (
        f"{reading.at_s:6.0f} s  {ledger.requests} requests, {len(ledger.failures)} failed, first"
        f" token p99 {latency}, {memory:,.0f} MiB, {files} files"
    )
