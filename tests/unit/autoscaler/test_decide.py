"""The decision.

Invariants: a person's word is followed, zero included; without one the target is within the
policy's bounds; more demand never lowers it; the same arguments give the same decision.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.contracts.ids import ModelName
from libs.contracts.model_spec import ScalingSpec
from libs.contracts.targets import DecidedTarget, ManualTarget, ScaleReason
from services.autoscaler.domain.decide import ScalingState, Signals, decide, is_news

M = ModelName("m")
COUNTS = st.integers(min_value=0, max_value=64)
POLICIES = st.tuples(COUNTS, COUNTS).map(lambda pair: ScalingSpec(min=min(pair), max=max(1, *pair)))
REASONS = st.none() | st.sampled_from(ScaleReason)
STATES = st.builds(ScalingState, target=st.none() | COUNTS, reason=REASONS)
UNSERVED = st.none() | COUNTS
READY = st.none() | COUNTS
NOW = st.floats(min_value=0, max_value=1e10)


@given(policy=POLICIES, state=STATES, ready=READY, unserved=UNSERVED)
def test_without_a_persons_word_the_target_is_within_the_bounds(
    policy: ScalingSpec, state: ScalingState, ready: int | None, unserved: int | None
) -> None:
    """Whatever is or is not known about replicas and demand."""
    signals = Signals(manual=None, ready=ready, unserved=unserved)

    decision = decide(signals, policy, state, 0.0)

    assert policy.min <= decision.target <= policy.max


@given(policy=POLICIES, state=STATES, unserved=UNSERVED)
def test_a_minimum_above_zero_is_the_target(
    policy: ScalingSpec, state: ScalingState, unserved: int | None
) -> None:
    """Demand alone adds nothing to replicas that are there."""
    policy = replace(policy, min=max(1, policy.min))

    decision = decide(Signals(manual=None, ready=None, unserved=unserved), policy, state, 0.0)

    assert (decision.target, decision.reason) == (policy.min, ScaleReason.MINIMUM)


def test_a_wanted_model_without_replicas_gets_its_first_one() -> None:
    """Unknown demand is none."""
    policy = ScalingSpec(min=0, max=4)

    targets = [
        decide(Signals(manual=None, ready=0, unserved=unserved), policy, ScalingState(), 0.0)
        for unserved in (None, 0, 1, 30)
    ]

    assert [(each.target, each.reason) for each in targets] == [
        (0, ScaleReason.MINIMUM),
        (0, ScaleReason.MINIMUM),
        (1, ScaleReason.DEMAND),
        (1, ScaleReason.DEMAND),
    ]


@pytest.mark.parametrize("unserved", [None, 0])
def test_what_was_started_for_somebody_stays(unserved: int | None) -> None:
    """Nobody waits any more, because it is there."""
    state = ScalingState(target=1, reason=ScaleReason.DEMAND)

    decision = decide(
        Signals(manual=None, ready=1, unserved=unserved), ScalingSpec(min=0, max=4), state, 0.0
    )

    assert (decision.target, decision.reason) == (1, ScaleReason.DEMAND)


def test_a_model_that_a_person_gives_back_goes_to_its_minimum() -> None:
    """Also to zero: what a person had asked for is no demand."""
    state = ScalingState(target=3, reason=ScaleReason.MANUAL)

    decision = decide(Signals(manual=None, ready=3), ScalingSpec(min=0, max=4), state, 0.0)

    assert (decision.target, decision.reason) == (0, ScaleReason.MINIMUM)


@given(policy=POLICIES, state=STATES, less=COUNTS, more=COUNTS)
def test_more_demand_never_lowers_the_target(
    policy: ScalingSpec, state: ScalingState, less: int, more: int
) -> None:
    """From nothing to anything."""
    few, many = (
        decide(Signals(manual=None, ready=None, unserved=count), policy, state, 0.0)
        for count in (less, less + more)
    )

    assert few.target <= many.target


@given(policy=POLICIES, state=STATES, replicas=COUNTS, now=NOW)
def test_a_persons_word_is_followed_exactly(
    policy: ScalingSpec, state: ScalingState, replicas: int, now: float
) -> None:
    """Also beyond the policy's bounds, and at zero while clients wait: it is a person's word."""
    manual = ManualTarget(model=M, replicas=replicas, set_at=now)

    decision = decide(Signals(manual=manual, ready=None, unserved=9), policy, state, now)

    assert (decision.target, decision.reason) == (replicas, ScaleReason.MANUAL)


@given(policy=POLICIES, state=STATES, unserved=UNSERVED, now=NOW)
def test_deciding_again_on_the_state_handed_on_changes_nothing(
    policy: ScalingSpec, state: ScalingState, unserved: int | None, now: float
) -> None:
    """Decisions do not drift by being repeated."""
    signals = Signals(manual=None, ready=None, unserved=unserved)
    first = decide(signals, policy, state, now)

    second = decide(signals, policy, first.state, now)

    assert second == first


def test_a_decision_is_news_when_target_or_reason_changed() -> None:
    """The same number for another reason is worth a record: a person may have taken over."""
    decision = decide(
        Signals(manual=None, ready=None), ScalingSpec(min=2, max=2), ScalingState(), 0.0
    )
    same = DecidedTarget(model=M, replicas=2, reason=ScaleReason.MINIMUM, decided_at=0.0)
    other_reason = DecidedTarget(model=M, replicas=2, reason=ScaleReason.MANUAL, decided_at=0.0)
    other_target = DecidedTarget(model=M, replicas=1, reason=ScaleReason.MINIMUM, decided_at=0.0)

    assert not is_news(decision, same)
    assert is_news(decision, other_reason)
    assert is_news(decision, other_target)
    assert is_news(decision, None)
