"""What a churn run should do, as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from libs.errors import UsageError

CYCLES_MAX: Final = 100_000
CLIENTS_MAX: Final = 2_000
REPLICAS_MAX: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class ChurnPlan:
    """One run.

    Attributes:
        cycles: in each, one replica joins and the oldest leaves.
        clients: each streams one answer after the other, all the time.
        replicas: ready ones between two cycles.
        pace_s: from the beginning of one cycle to the next; longer where a join takes longer.
        output_tokens: tokens of each answer.
        token_s: time between two of them.
        slow_s: requests whose first token takes longer are counted as slow.
    """

    cycles: int = 500
    clients: int = 64
    replicas: int = 4
    pace_s: float = 0.36
    output_tokens: int = 20
    token_s: float = 0.05
    slow_s: float = 1.0

    def __post_init__(self) -> None:
        """Check the bounds.

        Raises:
            UsageError: a value is out of them.
        """
        _within(1, CYCLES_MAX, cycles=self.cycles)
        _within(1, CLIENTS_MAX, clients=self.clients)
        _within(1, REPLICAS_MAX, replicas=self.replicas)
        _within(0.0, 3600.0, pace_s=self.pace_s)
        _within(1, 10_000, output_tokens=self.output_tokens)
        _within(0.001, 10.0, token_s=self.token_s)
        _within(0.001, 3600.0, slow_s=self.slow_s)

    @property
    def answer_s(self) -> float:
        """How long one answer takes at least."""
        return self.output_tokens * self.token_s


def _within(low: float, high: float, **values: float) -> None:
    for name, value in values.items():
        if not low <= value <= high:
            option = name.replace("_", "-")
            raise UsageError(f"--{option} must be from {low:g} to {high:g}, not {value:g}")
