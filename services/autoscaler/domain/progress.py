"""From a decision to its effect: which models have reached their targets, and how long it took.

Each decision is reached once: a replica that fails later does not open it again. How long it took
is measured on the monotonic clock from when it was first seen; what passed before that, under
another process, is told by the Unix time of the decision.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from libs.contracts.ids import ModelName
from libs.contracts.targets import DecidedTarget
from services.autoscaler.domain.moment import Now


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
        since: monotonic time in seconds at which those were decided.
        done: decisions that have been, or had been when they were first seen.
    """

    waiting: Mapping[ModelName, DecidedTarget]
    since: Mapping[ModelName, float]
    done: Mapping[ModelName, DecidedTarget]


NOTHING_SEEN = Progress(waiting={}, since={}, done={})


def advance(
    progress: Progress,
    decided: Mapping[ModelName, DecidedTarget],
    ready: Mapping[ModelName, int],
    *,
    now: Now,
) -> tuple[Progress, tuple[Reached, ...]]:
    """Return the progress at `now`, and the decisions just reached.

    A newer decision of a model takes an older one's place; a model without one is forgotten.
    """
    done = {
        model: target
        for model, target in decided.items()
        if progress.done.get(model) == target or ready.get(model, 0) == target.replicas
    }
    waiting = {model: target for model, target in decided.items() if model not in done}
    since = {
        model: progress.since[model]
        if progress.waiting.get(model) == target
        else now.monotonic - max(0.0, now.unix - target.decided_at)
        for model, target in waiting.items()
    }
    reached = tuple(
        Reached(decided=target, duration_s=now.monotonic - progress.since[model])
        for model, target in sorted(done.items())
        if progress.waiting.get(model) == target
    )
    return Progress(waiting=waiting, since=since, done=done), reached
