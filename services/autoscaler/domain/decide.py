"""How many replicas a model should have: a function of signals, policy, state and time.

A person's word wins over the policy, whatever the policy's bounds. Without one the target is the
declared minimum. A model whose minimum is zero gets its first replica when somebody wants it, and
keeps what it has got so: silence for a while is no proof that nobody comes back, and taking the
last replica away is for a person to say.

Invariants: a manual target is followed exactly, zero included; without one the target lies within
the policy's bounds; more demand never lowers it; the same arguments give the same decision.
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
        unserved: requests that wait for a replica or were refused just now; None when no edge
            has said.
    """

    manual: ManualTarget | None
    ready: int | None
    unserved: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingState:
    """What a decision hands on to the next one.

    Attributes:
        target: the target of the last decision; None before the first.
        reason: its reason.
    """

    target: int | None = None
    reason: ScaleReason | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A target, why, and the state for the next decision."""

    target: int
    reason: ScaleReason
    state: ScalingState


def decide(
    signals: Signals,
    policy: ScalingSpec,
    state: ScalingState,
    now: float,  # noqa: ARG001 (every policy has this signature)
) -> Decision:
    """Return how many replicas the model should have at `now`, in Unix seconds."""
    if signals.manual is not None:
        return _decision(signals.manual.replicas, ScaleReason.MANUAL)
    if policy.min == 0:
        return _from_zero(signals.unserved, policy, state)
    return _decision(policy.min, ScaleReason.MINIMUM)


def is_news(decision: Decision, last: DecidedTarget | None) -> bool:
    """Tell whether a decision differs from the one that was last written down."""
    return last is None or (last.replicas, last.reason) != (decision.target, decision.reason)


def _from_zero(unserved: int | None, policy: ScalingSpec, state: ScalingState) -> Decision:
    kept = (state.target or 0) if state.reason is ScaleReason.DEMAND else 0
    wanted = 1 if unserved else 0
    target = min(max(kept, wanted), policy.max)
    return _decision(target, ScaleReason.DEMAND if target else ScaleReason.MINIMUM)


def _decision(target: int, reason: ScaleReason) -> Decision:
    return Decision(target=target, reason=reason, state=ScalingState(target=target, reason=reason))
