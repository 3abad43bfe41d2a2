"""Looks at the stack all the time: from inside, and through `./sluice status`."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from libs.testing.local_stack import Done, StatusJson
from tools.bench.chaos.footprint import segments_of
from tools.bench.chaos.world import World

_LOOK_S: Final = 1.0
_FRESH_S: Final = 10.0
"""Routing status and leadership are written every 5 and every 1 s."""

_ASK_S: Final = 8.0
_KEPT_S: Final = 120.0
SLACK_S: Final = 15.0
"""What changed less than this before `status` was asked, it may not have heard of yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What was seen from inside at one moment; `lacks` is empty where all was right."""

    at_s: float
    lacks: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What `status --json` said, and when."""

    began_s: float
    ended_s: float
    complaints: tuple[str, ...]


@dataclass(slots=True)
class Watch:
    """What was seen so far.

    Attributes:
        expected: replicas that should be ready; None while that changes.
        lies: answers of `status` that were not true.
        segments: all shared memory that the stack was seen to have open.
    """

    world: World
    expected: int | None
    sights: deque[Sight] = field(default_factory=deque)
    asked: int = 0
    lies: list[str] = field(default_factory=list)
    segments: set[Path] = field(default_factory=set)

    async def look(self) -> None:
        """Look once a second, for ever."""
        while True:
            found = await self.world.inside.look_async()
            replicas = len(found.leases) if self.expected is None else self.expected
            lacks = found.lacks(since=time.time() - _FRESH_S, replicas=replicas)
            now_s = time.monotonic()
            self.sights.append(Sight(at_s=now_s, lacks=lacks))
            while self.sights[0].at_s < now_s - _KEPT_S:
                self.sights.popleft()
            await asyncio.sleep(_LOOK_S)

    async def ask(self) -> None:
        """Ask `status` now and then, for ever, and compare what it says with what was seen."""
        while True:
            self.segments |= await asyncio.to_thread(segments_of, self.world.stack_id)
            began_s = time.monotonic()
            try:
                done = await asyncio.to_thread(self.world.stack.sluice, "status", "--json")
            except subprocess.TimeoutExpired as exc:
                self.lies.append(f"status did not answer within {exc.timeout:g} s")
                continue
            answer = Answer(began_s=began_s, ended_s=time.monotonic(), complaints=complaints(done))
            self.asked += 1
            lie = untrue(answer, list(self.sights))
            if lie:
                self.lies.append(lie)
            await asyncio.sleep(_ASK_S)


def complaints(done: Done) -> tuple[str, ...]:
    """Return what an answer of `status --json` says is wrong; empty where all is well (pure)."""
    if not done.out:
        return (done.err.strip()[-300:] or f"exit code {done.code}",)
    status: StatusJson = json.loads(done.out)
    short = [model["name"] for model in status["models"] if model["ready"] != model["target"]]
    return (*status["problems"], *(f"{name}: other replicas than wanted" for name in short))


def untrue(answer: Answer, sights: Sequence[Sight]) -> str:
    """Return what an answer got wrong; empty where it was right at some moment (pure).

    It is wrong only if everything that was seen from `SLACK_S` before it was asked until it
    answered says otherwise.
    """
    seen = [sight for sight in sights if answer.began_s - SLACK_S <= sight.at_s <= answer.ended_s]
    if not seen or seen[0].at_s > answer.began_s - SLACK_S / 2:
        return ""
    if answer.complaints and all(not sight.lacks for sight in seen):
        return f"status complains and all is well: {'; '.join(answer.complaints)}"
    if not answer.complaints and all(sight.lacks for sight in seen):
        return f"status is content, but: {'; '.join(seen[-1].lacks)}"
    return ""
