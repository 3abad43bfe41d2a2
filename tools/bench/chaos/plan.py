"""Which faults happen in which order, for a seed (pure)."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from libs.errors import UsageError
from tools.bench.chaos.faults import Fault, FillDisk, Kill, Stop, catalogue, fault_named

_PAUSE_S: Final = (1.0, 4.0)
_PAIR_EVERY: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ChaosPlan:
    """One run.

    Attributes:
        seconds: no new fault begins after this; the last one is still seen to its end.
        seed: the same seed gives the same faults in the same order.
        replicas: of the simulated model.
        short_clients: clients that stream answers of some seconds one after the other.
        long_clients: the same with answers that take more than a minute.
        faults: what may happen.

    Raises:
        UsageError: a value cannot be used.
    """

    seconds: float
    seed: int = 0
    replicas: int = 2
    short_clients: int = 8
    long_clients: int = 2
    faults: tuple[Fault, ...] = field(default_factory=catalogue)

    def __post_init__(self) -> None:
        if self.seconds <= 0:
            raise UsageError(f"the run must take more than no time, not {self.seconds:g} s")
        if self.replicas < 2:  # noqa: PLR2004 - with one, its death is everybody's
            raise UsageError("chaos needs 2 replicas or more")
        if not self.faults:
            raise UsageError("no fault is left to be done")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What happens at once.

    Attributes:
        pick: chooses among processes of one kind, 0 up to 1.
        pause_s: how long everything rests before.
    """

    number: int
    faults: tuple[Fault, ...]
    pick: float
    pause_s: float

    @property
    def name(self) -> str:
        """The faults' names, for a person."""
        return " + ".join(each.name for each in self.faults)

    @property
    def bound_s(self) -> float:
        """Until everything is right again: two faults may have to be mended one by one."""
        return sum(each.bound_s for each in self.faults)


def chosen(only: str | None, *, minutes: float) -> tuple[Fault, ...]:
    """Return the faults of a run: those named, or all; a short run leaves out the slow ones.

    Raises:
        UsageError: there is no fault of a name.
    """
    if only is None:
        return tuple(each for each in catalogue() if not (each.is_slow and minutes < _LONG_MIN))
    found = {name: fault_named(name) for name in only.split(",")}
    unknown = [name for name, fault in found.items() if fault is None]
    if unknown:
        known = ", ".join(each.name for each in catalogue())
        raise UsageError(f"no fault is named {', '.join(map(repr, unknown))}; there is: {known}")
    return tuple(fault for fault in found.values() if fault is not None)


_LONG_MIN: Final = 15.0


FIXED_SEEDS: Final = (2056, 2829)
"""Found by trying: their first steps do most kinds of fault, and kill one replica each."""


def fixed_faults() -> tuple[Fault, ...]:
    """Return what the fixed seeds choose from; the full disk has a test of its own."""
    short = chosen(None, minutes=_LONG_MIN / 2)
    return tuple(each for each in short if not isinstance(each.action, FillDisk))


def steps(plan: ChaosPlan) -> Iterator[Step]:
    """Yield steps without end: every fault once before any comes again, every third a pair."""
    source = random.Random(plan.seed)  # noqa: S311 - a seed must give the same run again
    deck = _shuffled(plan.faults, source)
    number = 0
    while True:
        number += 1
        first = next(deck)
        faults: tuple[Fault, ...] = (first,)
        if number % _PAIR_EVERY == 0:
            second = next(deck)
            faults = (first, second) if _at_once(first, second) else (first,)
        yield Step(
            number=number,
            faults=faults,
            pick=source.random(),
            pause_s=source.uniform(*_PAUSE_S),
        )


def _shuffled(faults: Sequence[Fault], source: random.Random) -> Iterator[Fault]:
    while True:
        yield from source.sample(faults, len(faults))


def _at_once(first: Fault, second: Fault) -> bool:
    """Two faults of two kinds of process can happen at once; the others use the stack itself."""
    match first.action, second.action:
        case ((Kill(target=one) | Stop(target=one)), (Kill(target=other) | Stop(target=other))):
            return one is not other
        case _:
            return False
