"""From decisions to effects: each is reached once."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from libs.contracts.ids import ModelName
from libs.contracts.targets import DecidedTarget, ScaleReason
from services.autoscaler.domain.moment import Now
from services.autoscaler.domain.progress import NOTHING_SEEN, Reached, advance

M = ModelName("m")


def test_a_decision_is_reached_when_its_replicas_are_ready() -> None:
    """The duration counts from the decision."""
    waiting, early = advance(NOTHING_SEEN, {M: decided(2)}, {M: 1}, now=at(11.0))

    _, reached = advance(waiting, {M: decided(2)}, {M: 2}, now=at(15.0))

    assert early == ()
    assert reached == (Reached(decided=decided(2), duration_s=5.0),)


def test_what_was_so_already_is_no_effect() -> None:
    """An autoscaler that starts finds models at their targets and claims nothing."""
    _, reached = advance(NOTHING_SEEN, {M: decided(1)}, {M: 1}, now=at(11.0))

    assert reached == ()


def test_a_replica_that_fails_later_does_not_open_a_decision_again() -> None:
    """That is Ray Serve's to repair; it is another fact."""
    progress, _ = advance(NOTHING_SEEN, {M: decided(1)}, {M: 0}, now=at(11.0))
    progress, first = advance(progress, {M: decided(1)}, {M: 1}, now=at(12.0))
    progress, _ = advance(progress, {M: decided(1)}, {M: 0}, now=at(13.0))

    _, second = advance(progress, {M: decided(1)}, {M: 1}, now=at(14.0))

    assert len(first) == 1
    assert second == ()


def test_zero_replicas_can_be_reached() -> None:
    """A model that nobody mentions any more has none."""
    progress, _ = advance(NOTHING_SEEN, {M: decided(0)}, {M: 1}, now=at(11.0))

    _, reached = advance(progress, {M: decided(0)}, {}, now=at(12.0))

    assert reached == (Reached(decided=decided(0), duration_s=2.0),)


def test_a_jump_of_the_clock_makes_no_duration_longer_or_shorter() -> None:
    """A decision of five seconds' standing has stood for five seconds."""
    waiting, _ = advance(NOTHING_SEEN, {M: decided(2)}, {M: 1}, now=at(10.0))

    for jump_s in (86_400.0, -86_400.0):
        now = replace(at(15.0), unix=15.0 + jump_s)
        _, reached = advance(waiting, {M: decided(2)}, {M: 2}, now=now)

        assert reached == (Reached(decided=decided(2), duration_s=5.0),)


@given(counts=st.lists(st.integers(0, 3), max_size=30))
def test_no_decision_is_reached_twice(counts: list[int]) -> None:
    """Whatever becomes of the replicas."""
    progress, reached_times = NOTHING_SEEN, 0

    for number, ready in enumerate(counts):
        progress, reached = advance(progress, {M: decided(2)}, {M: ready}, now=at(11.0 + number))
        reached_times += len(reached)

    assert reached_times <= 1


def at(unix: float) -> Now:
    """Return a moment; the machine was started some time ago."""
    return Now(unix=unix, monotonic=5_000.0 + unix)


def decided(replicas: int) -> DecidedTarget:
    """Return a decision made at ten seconds."""
    return DecidedTarget(model=M, replicas=replicas, reason=ScaleReason.MINIMUM, decided_at=10.0)
