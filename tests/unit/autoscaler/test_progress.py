"""From decisions to effects: each is reached once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from libs.contracts.ids import ModelName
from libs.contracts.targets import DecidedTarget, ScaleReason
from services.autoscaler.domain.progress import NOTHING_SEEN, Reached, advance

M = ModelName("m")


def test_a_decision_is_reached_when_its_replicas_are_ready() -> None:
    """The duration counts from the decision."""
    waiting, early = advance(NOTHING_SEEN, {M: decided(2)}, {M: 1}, now=11.0)

    _, reached = advance(waiting, {M: decided(2)}, {M: 2}, now=15.0)

    assert early == ()
    assert reached == (Reached(decided=decided(2), duration_s=5.0),)


def test_what_was_so_already_is_no_effect() -> None:
    """An autoscaler that starts finds models at their targets and claims nothing."""
    _, reached = advance(NOTHING_SEEN, {M: decided(1)}, {M: 1}, now=11.0)

    assert reached == ()


def test_a_replica_that_fails_later_does_not_open_a_decision_again() -> None:
    """That is Ray Serve's to repair; it is another fact."""
    progress, _ = advance(NOTHING_SEEN, {M: decided(1)}, {M: 0}, now=11.0)
    progress, first = advance(progress, {M: decided(1)}, {M: 1}, now=12.0)
    progress, _ = advance(progress, {M: decided(1)}, {M: 0}, now=13.0)

    _, second = advance(progress, {M: decided(1)}, {M: 1}, now=14.0)

    assert len(first) == 1
    assert second == ()


def test_zero_replicas_can_be_reached() -> None:
    """A model that nobody mentions any more has none."""
    progress, _ = advance(NOTHING_SEEN, {M: decided(0)}, {M: 1}, now=11.0)

    _, reached = advance(progress, {M: decided(0)}, {}, now=12.0)

    assert reached == (Reached(decided=decided(0), duration_s=2.0),)


@given(counts=st.lists(st.integers(0, 3), max_size=30))
def test_no_decision_is_reached_twice(counts: list[int]) -> None:
    """Whatever becomes of the replicas."""
    progress, reached_times = NOTHING_SEEN, 0

    for number, ready in enumerate(counts):
        progress, reached = advance(progress, {M: decided(2)}, {M: ready}, now=11.0 + number)
        reached_times += len(reached)

    assert reached_times <= 1


def decided(replicas: int, *, at: float = 10.0) -> DecidedTarget:
    """Return a decision made at a time."""
    return DecidedTarget(model=M, replicas=replicas, reason=ScaleReason.MINIMUM, decided_at=at)
