"""CPU time by role from readings of processes that come and go (pure).

A process's own time is counted while it lives. The time of a child that ended between two readings
stands in its parent's `reaped_s`, which the kernel raises by the child's whole time; what was
already counted of that child is taken off again, so that nothing is counted twice.

    added = own now - own before + max(0, reaped now - reaped before - counted of ended children)

Source: proc(5), fields utime, stime, cutime, cstime of /proc/<pid>/stat.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from tools.bench.compare.roles import Role, role_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One process at one moment.

    Attributes:
        began: when it started, in the kernel's ticks; tells a used-again pid from the first.
        own_s: CPU time of its own. reaped_s: of its children that have ended.
    """

    pid: int
    began: int
    parent: int
    command: str
    own_s: float
    reaped_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    """CPU seconds by role from the first reading to a moment."""

    at_s: float
    by_role: dict[Role, float]


@dataclass(slots=True, kw_only=True)
class CpuLedger:
    """Takes one reading after the other, and keeps the totals of each."""

    totals: list[Total] = field(default_factory=list)
    _last: dict[tuple[int, int], Seen] = field(default_factory=dict)
    _sums: dict[Role, float] = field(default_factory=lambda: dict.fromkeys(Role, 0.0))

    def take(self, at_s: float, seen: Sequence[Seen]) -> None:
        """Add a reading; the first one only sets the start."""
        now = {(each.pid, each.began): each for each in seen}
        if self.totals:
            ended = self._ended(now)
            for key, each in now.items():
                self._sums[role_of(each.command)] += self._added(key, each, ended)
        self._last = now
        self.totals.append(Total(at_s=at_s, by_role=dict(self._sums)))

    def _ended(self, now: dict[tuple[int, int], Seen]) -> dict[int, float]:
        """Return by parent what was already counted of children that are gone."""
        counted: dict[int, float] = {}
        for key, each in self._last.items():
            if key not in now:
                counted[each.parent] = counted.get(each.parent, 0.0) + each.own_s + each.reaped_s
        return counted

    def _added(self, key: tuple[int, int], each: Seen, ended: dict[int, float]) -> float:
        before = self._last.get(key)
        own_s, reaped_s = (before.own_s, before.reaped_s) if before else (0.0, 0.0)
        reaped = each.reaped_s - reaped_s - ended.get(each.pid, 0.0)
        return each.own_s - own_s + max(0.0, reaped)


def between(totals: Sequence[Total], start_s: float, end_s: float) -> dict[Role, float]:
    """Return the CPU seconds by role between two moments."""
    return {
        role: grown([(total.at_s, total.by_role[role]) for total in totals], start_s, end_s)
        for role in Role
    }


def grown(readings: Sequence[tuple[float, float]], start_s: float, end_s: float) -> float:
    """Return how much a counter grew between two moments, on straight lines between readings."""
    return _at(readings, end_s) - _at(readings, start_s)


def _at(readings: Sequence[tuple[float, float]], at_s: float) -> float:
    if at_s <= readings[0][0]:
        return readings[0][1]
    for (left_s, before), (right_s, after) in pairwise(readings):
        if left_s <= at_s < right_s:
            return before + (after - before) * (at_s - left_s) / (right_s - left_s)
    return readings[-1][1]
