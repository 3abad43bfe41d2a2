"""Lines between the bench and the fleet's process, one order and one answer each; pure.

open churn-7      ->  ok 40123      (the port on which it listens)
asked churn-7     ->  ok 51234567   (its first request, monotonic microseconds; 0 before it)
finish churn-7    ->  ok 0          (its streams end whole with their next token)
close churn-7     ->  ok 0
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

_OK: Final = "ok"


class Verb(StrEnum):
    """What a replica is told."""

    OPEN = "open"
    ASKED = "asked"
    FINISH = "finish"
    CLOSE = "close"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One order about one replica."""

    verb: Verb
    name: str


def render_order(order: Order) -> str:
    """Render one line."""
    return f"{order.verb} {order.name}\n"


def parse_order(line: str) -> Order:
    """Read one line.

    Raises:
        ValueError: it is no order.
    """
    verb, name = line.split()
    return Order(verb=Verb(verb), name=name)


def render_answer(value: int = 0) -> str:
    """Render one line."""
    return f"{_OK} {value}\n"


def parse_answer(line: str) -> int:
    """Return the value.

    Raises:
        ValueError: it is no answer.
    """
    said, _, value = line.strip().partition(" ")
    if said != _OK or not value.isdecimal():
        message = f"no answer of the fleet: {line!r}"
        raise ValueError(message)
    return int(value)
