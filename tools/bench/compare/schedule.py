"""In which order stacks are started and loads are sent (pure).

Every round starts every stack once, one after the other: A B C D, A B C D. What changes slowly on a
machine then meets all stacks alike, and a ratio is taken inside one round.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from libs.errors import UsageError
from tools.bench.compare.cases import Point
from tools.bench.compare.stacks.port import StackName


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One start of one stack, and what is sent to it.

    Attributes:
        round: from 1.
    """

    round: int
    stack: StackName
    replicas: int
    points: tuple[Point, ...]


def schedule(
    stacks: Sequence[StackName], points: Sequence[Point], *, rounds: int
) -> tuple[Visit, ...]:
    """Return all visits in order; loads for as many replicas share a start."""
    sizes = sorted({point.replicas for point in points})
    return tuple(
        Visit(
            round=number,
            stack=stack,
            replicas=replicas,
            points=tuple(point for point in points if point.replicas == replicas),
        )
        for number in range(1, rounds + 1)
        for replicas in sizes
        for stack in stacks
    )


def parse_stacks(text: str) -> tuple[StackName, ...]:
    """Read the names of stacks, separated by commas; the first is compared with all others.

    Raises:
        UsageError: there is no such stack, or none is named.
    """
    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    unknown = [name for name in names if name not in set(StackName)]
    if unknown or not names:
        said = f"there is no stack {unknown[0]!r}" if unknown else "no stack is named"
        raise UsageError(f"{said}; --stacks takes {', '.join(StackName)}")
    return tuple(StackName(name) for name in names)
