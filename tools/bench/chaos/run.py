"""One run: clients stream, faults happen one step after the other, everything is watched."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from libs.testing.stack_inside import Found
from tools.bench.chaos.actions import act
from tools.bench.chaos.clients import clients, kinds
from tools.bench.chaos.faults import Cost, Fault, FillDisk
from tools.bench.chaos.footprint import grown, left_segments, read_footprint
from tools.bench.chaos.outcomes import Ledger
from tools.bench.chaos.plan import ChaosPlan, Step, steps
from tools.bench.chaos.result import ChaosResult, StepResult
from tools.bench.chaos.verdict import Incident
from tools.bench.chaos.watch import Watch
from tools.bench.chaos.world import ChaosStackError, World

_LOOK_S: Final = 0.3
_BEYOND_S: Final = 60.0
"""A stack that is not right so long after its bound will not be; the run ends."""

_SETTLE_S: Final = 5.0

Say = Callable[[str], None]


@dataclass(slots=True, kw_only=True)
class _Run:
    """A run and its parts."""

    plan: ChaosPlan
    world: World
    say: Say
    stop: asyncio.Event
    watch: Watch
    ledger: Ledger = field(default_factory=Ledger)
    done: list[StepResult] = field(default_factory=list)

    async def all_steps(self) -> None:
        """Do one step after the other until the time is over or one is never right again."""
        until_s = time.monotonic() + self.plan.seconds
        for step in steps(self.plan):
            if self.stop.is_set() or time.monotonic() > until_s:
                return
            await asyncio.sleep(step.pause_s)
            result = await self._step(step)
            self.done.append(result)
            self.say(_line(result, self.ledger))
            if result.right_after_s is None:
                return

    async def _step(self, step: Step) -> StepResult:
        before = await self.whole(since=time.time() - _FRESH_S, within_s=_BEYOND_S)
        began_s = time.monotonic()
        self.say(f"[{step.number}] {step.name}")
        if any(each.changes_replicas for each in step.faults):
            self.watch.expected = None
        over_s, problem = await self._act(step)
        since = time.time()
        ends_all = any(each.cost is Cost.ALL_REPLICAS for each in step.faults)
        after = await self.whole(
            since=since,
            within_s=step.bound_s + _BEYOND_S,
            without=_servers(before) if ends_all else frozenset(),
        )
        ended_s = time.monotonic()
        self.watch.expected = self.world.replicas
        lost = _servers(before) - _servers(after)
        return StepResult(
            name=step.name,
            bound_s=step.bound_s,
            right_after_s=None if after is None else ended_s - over_s,
            incident=Incident(faults=step.faults, began_s=began_s, ended_s=ended_s, lost=lost),
            problem=problem,
        )

    async def _act(self, step: Step) -> tuple[float, str]:
        """Do the step's faults at the same time; returns when the last one was over."""
        acts = (act(each.action, self.world, at=step.pick) for each in step.faults)
        found = await asyncio.gather(*acts, return_exceptions=True)
        problems = [str(each) for each in found if isinstance(each, ChaosStackError)]
        for each in found:
            if isinstance(each, BaseException) and not isinstance(each, ChaosStackError):
                raise each
        overs = [each for each in found if isinstance(each, float)]
        return max(overs, default=time.monotonic()), "; ".join(problems)

    async def whole(
        self, *, since: float, within_s: float, without: frozenset[str] = frozenset()
    ) -> Found | None:
        """Look until every part is right and has spoken since; None where that never comes.

        The servers in `without` must be gone first: after its node was killed, a replica looks
        right until it notices.
        """
        until_s = time.monotonic() + within_s
        while True:
            found = await self.world.inside.look_async()
            lacks = [*found.lacks(since=since, replicas=self.world.replicas)]
            lacks += [f"{server} has not ended yet" for server in sorted(without & _servers(found))]
            if not lacks:
                return found
            if time.monotonic() > until_s:
                self.say(f"not right after {within_s:g} s: {'; '.join(lacks)}")
                return None
            await asyncio.sleep(_LOOK_S)


_FRESH_S: Final = 10.0


async def run_chaos(plan: ChaosPlan, world: World, *, say: Say, stop: asyncio.Event) -> ChaosResult:
    """Do a plan's steps until its time is over, or `stop` is set, and return what was found.

    Raises:
        ChaosStackError: the stack was not right before the first fault.
    """
    possible, skipped = _possible(plan.faults, world)
    plan = ChaosPlan(
        seconds=plan.seconds,
        seed=plan.seed,
        replicas=plan.replicas,
        short_clients=plan.short_clients,
        long_clients=plan.long_clients,
        faults=possible,
    )
    run = _Run(
        plan=plan,
        world=world,
        say=say,
        stop=stop,
        watch=Watch(world=world, expected=world.replicas),
    )
    began_s = time.monotonic()
    if await run.whole(since=time.time() - _FRESH_S, within_s=_BEYOND_S) is None:
        raise ChaosStackError("the stack was not right before the first fault")
    before = await asyncio.to_thread(read_footprint, world)
    await _under_load(run)
    await asyncio.sleep(_SETTLE_S)
    after = await asyncio.to_thread(read_footprint, world)
    return ChaosResult(
        seed=plan.seed,
        seconds=time.monotonic() - began_s,
        steps=tuple(run.done),
        ledger=run.ledger,
        asked=run.watch.asked,
        lies=tuple(run.watch.lies),
        leaks=(*grown(before, after), *left_segments(run.watch.segments, after)),
        skipped=skipped,
        interrupted=stop.is_set(),
    )


async def _under_load(run: _Run) -> None:
    wanted = kinds(short=run.plan.short_clients, long=run.plan.long_clients)
    async with asyncio.TaskGroup() as tasks, clients(wanted, run.world.access, run.ledger):
        watching = [tasks.create_task(run.watch.look()), tasks.create_task(run.watch.ask())]
        try:
            await run.all_steps()
        finally:
            for task in watching:
                task.cancel()


def _possible(faults: tuple[Fault, ...], world: World) -> tuple[tuple[Fault, ...], tuple[str, ...]]:
    """Leave out what cannot be done here, and say why."""
    if world.has_own_disk:
        return faults, ()
    left = tuple(each for each in faults if not isinstance(each.action, FillDisk))
    why = "its folder is no file system of its own, which needs root"
    return left, tuple(f"{each.name}: {why}" for each in faults if each not in left)


def _servers(found: Found | None) -> frozenset[str]:
    return frozenset() if found is None else frozenset(found.leases)


def _line(result: StepResult, ledger: Ledger) -> str:
    after_s = result.right_after_s
    right = "never right again" if after_s is None else f"right after {after_s:.1f} s"
    lost = f", {len(result.incident.lost)} replicas replaced" if result.incident.lost else ""
    problem = f", {result.problem}" if result.problem else ""
    return f"    {right}{lost}{problem}; {ledger.requests} requests, {len(ledger.failures)} failed"
