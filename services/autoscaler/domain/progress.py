"""From a decision to its effect: which models have reached their targets, and how long it took.

Each decision is reached once: a replica that fails later does not open it again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from libs.contracts.ids import ModelName
from libs.contracts.targets import DecidedTarget


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """A model has as many ready replicas as was decided `duration_s` ago."""

    decided: DecidedTarget
    duration_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What became of the last decision about each model.

    Attributes:
        waiting: decisions that have not been reached.
        done: decisions that have been, or had been when they were first seen.
    """

    waiting: Mapping[ModelName, DecidedTarget]
    done: Mapping[ModelName, DecidedTarget]


NOTHING_SEEN = Progress(waiting={}, done={})


def advance(
    progress: Progress,
    decided: Mapping[ModelName, DecidedTarget],
    ready: Mapping[ModelName, int],
    *,
    now: float,
) -> tuple[Progress, tuple[Reached, ...]]:
    """Return the progress at `now`, in Unix seconds, and the decisions just reached.

    A newer decision of a model takes an older one's place; a model without one is forgotten.
    """
    done = {
        model: target
        for model, target in decided.items()
        if progress.done.get(model) == target or ready.get(model, 0) == target.replicas
    }
    waiting = {model: target for model, target in decided.items() if model not in done}
    reached = tuple(
        Reached(decided=target, duration_s=max(0.0, now - target.decided_at))
        for model, target in sorted(done.items())
        if progress.waiting.get(model) == target
    )
    return Progress(waiting=waiting, done=done), reached
