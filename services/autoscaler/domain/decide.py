"""How many replicas a model should have: a function of signals, policy, state and time.

A person's word wins over the policy, whatever the policy's bounds. Without one the target is the
declared minimum.

Invariants: a manual target is followed exactly; without one the target lies within the policy's
bounds; the same arguments give the same decision.
"""

from __future__ import annotations

from dataclasses import dataclass

from libs.contracts.model_spec import ScalingSpec
from libs.contracts.targets import DecidedTarget, ManualTarget, ScaleReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Signals:
    """What is known about a model.

    Attributes:
        manual: what a person set; None when nobody did.
        ready: replicas that are ready; None when the bus cannot tell.
    """

    manual: ManualTarget | None
    ready: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingState:
    """What a decision hands on to the next one.

    Attributes:
        target: the target of the last decision; None before the first.
    """

    target: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A target, why, and the state for the next decision."""

    target: int
    reason: ScaleReason
    state: ScalingState


def decide(
    signals: Signals,
    policy: ScalingSpec,
    state: ScalingState,  # noqa: ARG001 (every policy has this signature)
    now: float,  # noqa: ARG001 (as above)
) -> Decision:
    """Return how many replicas the model should have at `now`, in Unix seconds."""
    if signals.manual is not None:
        return _decision(signals.manual.replicas, ScaleReason.MANUAL)
    return _decision(policy.min, ScaleReason.MINIMUM)


def is_news(decision: Decision, last: DecidedTarget | None) -> bool:
    """Tell whether a decision differs from the one that was last written down."""
    return last is None or (last.replicas, last.reason) != (decision.target, decision.reason)


def _decision(target: int, reason: ScaleReason) -> Decision:
    return Decision(target=target, reason=reason, state=ScalingState(target=target))
