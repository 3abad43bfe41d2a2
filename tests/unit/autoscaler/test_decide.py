"""The decision.

Invariants: a person's word is followed; without one the target is within the policy's bounds; the
same arguments give the same decision.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from libs.contracts.ids import ModelName
from libs.contracts.model_spec import ScalingSpec
from libs.contracts.targets import DecidedTarget, ManualTarget, ScaleReason
from services.autoscaler.domain.decide import ScalingState, Signals, decide, is_news

M = ModelName("m")
COUNTS = st.integers(min_value=0, max_value=64)
POLICIES = st.tuples(COUNTS, COUNTS).map(lambda pair: ScalingSpec(min=min(pair), max=max(1, *pair)))
STATES = st.builds(ScalingState, target=st.none() | COUNTS)
READY = st.none() | COUNTS
NOW = st.floats(min_value=0, max_value=1e10)


@given(policy=POLICIES, state=STATES, ready=READY, now=NOW)
def test_without_a_persons_word_the_target_is_the_minimum(
    policy: ScalingSpec, state: ScalingState, ready: int | None, now: float
) -> None:
    """And so within the bounds, whatever is or is not known about replicas."""
    decision = decide(Signals(manual=None, ready=ready), policy, state, now)

    assert (decision.target, decision.reason) == (policy.min, ScaleReason.MINIMUM)
    assert policy.min <= decision.target <= policy.max


@given(policy=POLICIES, state=STATES, replicas=COUNTS, now=NOW)
def test_a_persons_word_is_followed_exactly(
    policy: ScalingSpec, state: ScalingState, replicas: int, now: float
) -> None:
    """Also beyond the policy's bounds: they are the policy's, not the person's."""
    manual = ManualTarget(model=M, replicas=replicas, set_at=now)

    decision = decide(Signals(manual=manual, ready=None), policy, state, now)

    assert (decision.target, decision.reason) == (replicas, ScaleReason.MANUAL)


@given(policy=POLICIES, state=STATES, ready=READY, now=NOW)
def test_deciding_again_on_the_state_handed_on_changes_nothing(
    policy: ScalingSpec, state: ScalingState, ready: int | None, now: float
) -> None:
    """Decisions do not drift by being repeated."""
    signals = Signals(manual=None, ready=ready)
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
