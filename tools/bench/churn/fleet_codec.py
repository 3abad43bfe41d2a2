"""Lines between the bench and the fleet's process, one order and one answer each; pure.

open churn-7      ->  ok 40123      (the port on which it listens)
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


def render_answer(port: int = 0) -> str:
    """Render one line."""
    return f"{_OK} {port}\n"


def parse_answer(line: str) -> int:
    """Return the port.

    Raises:
        ValueError: it is no answer.
    """
    said, _, port = line.strip().partition(" ")
    if said != _OK or not port.isdecimal():
        message = f"no answer of the fleet: {line!r}"
        raise ValueError(message)
    return int(port)
