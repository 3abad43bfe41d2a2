"""What was measured, and whether it is as fast as it has to be (pure)."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from tools.bench.control_plane.size import Size


class Step(StrEnum):
    """What is timed, each as one round of router-config's loop."""

    FROM_NOTHING = "from_nothing"
    NOTHING_TO_DO = "nothing_to_do"
    JOIN = "one_join"
    LEAVE = "one_leave"
    NEW_NAME = "one_new_name"
    LOST_NAME = "one_name_less"


GOALS_S: Final[Mapping[Step, float]] = {
    Step.FROM_NOTHING: 2.0,
    Step.JOIN: 0.05,
    Step.LEAVE: 0.05,
    Step.NEW_NAME: 0.05,
    Step.LOST_NAME: 0.05,
}
"""Medians that must not be exceeded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """One step, in seconds: on the clock, and of CPU time in router-config and in HAProxy."""

    wall_s: float
    python_s: float
    haproxy_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Medians:
    """The middle of several runs of a step; `wall_max_s` is the slowest."""

    runs: int
    wall_s: float
    wall_max_s: float
    python_s: float
    haproxy_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Everything that was measured."""

    size: Size
    costs: Mapping[Step, Sequence[Cost]]

    def medians(self) -> dict[Step, Medians]:
        """Return each measured step's medians."""
        return {step: _medians(costs) for step, costs in self.costs.items() if costs}

    @property
    def missed(self) -> tuple[Step, ...]:
        """The steps that took longer than they may."""
        found = self.medians()
        return tuple(s for s, goal_s in GOALS_S.items() if s in found and found[s].wall_s > goal_s)

    def to_json(self) -> dict[str, object]:
        """Return plain values."""
        return {
            "replicas": self.size.replicas,
            "servers": self.size.servers,
            "models": self.size.models,
            "names": self.size.names,
            "steps": {step.value: _plain(step, each) for step, each in self.medians().items()},
            "missed": [step.value for step in self.missed],
        }


def _medians(costs: Sequence[Cost]) -> Medians:
    return Medians(
        runs=len(costs),
        wall_s=statistics.median(cost.wall_s for cost in costs),
        wall_max_s=max(cost.wall_s for cost in costs),
        python_s=statistics.median(cost.python_s for cost in costs),
        haproxy_s=statistics.median(cost.haproxy_s for cost in costs),
    )


def _plain(step: Step, found: Medians) -> dict[str, object]:
    return {
        "runs": found.runs,
        "wall_ms": found.wall_s * 1000,
        "wall_max_ms": found.wall_max_s * 1000,
        "python_cpu_ms": found.python_s * 1000,
        "haproxy_cpu_ms": found.haproxy_s * 1000,
        "goal_ms": GOALS_S[step] * 1000 if step in GOALS_S else None,
    }
