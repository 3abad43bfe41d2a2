"""The table of a replica's life.

Invariants: every pair is in the table or raises; the ends have no way out; every walk that does
not fail passes starting, ready, draining, stopped in this order.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.contracts.lease import ReplicaState
from services.replica.domain.lifecycle import (
    ENDS,
    TRANSITIONS,
    ImpossibleTransitionError,
    LifecycleEvent,
    advance,
)

ORDER = [
    ReplicaState.STARTING,
    ReplicaState.READY,
    ReplicaState.DRAINING,
    ReplicaState.STOPPED,
    ReplicaState.FAILED,
]
EVENTS = st.lists(st.sampled_from(LifecycleEvent), max_size=12)


@pytest.mark.parametrize("event", LifecycleEvent)
@pytest.mark.parametrize("state", ReplicaState)
def test_every_pair_is_in_the_table_or_raises(state: ReplicaState, event: LifecycleEvent) -> None:
    """There is no third way."""
    if (state, event) in TRANSITIONS:
        assert advance(state, event) is TRANSITIONS[state, event]
    else:
        with pytest.raises(ImpossibleTransitionError):
            advance(state, event)


@pytest.mark.parametrize("state", [state for state in ReplicaState if state not in ENDS])
def test_a_replica_can_fail_from_anywhere_but_its_end(state: ReplicaState) -> None:
    """It may break at any time."""
    assert advance(state, LifecycleEvent.FAILED) is ReplicaState.FAILED


@given(EVENTS)
def test_no_walk_ever_goes_back(events: list[LifecycleEvent]) -> None:
    """States only move forward, so that a watcher who misses some of them is never misled."""
    walk = [ReplicaState.STARTING]
    for event in events:
        if (walk[-1], event) in TRANSITIONS:
            walk.append(advance(walk[-1], event))

    places = [ORDER.index(state) for state in walk]
    assert places == sorted(set(places))


@given(EVENTS)
def test_nothing_leads_out_of_an_end(events: list[LifecycleEvent]) -> None:
    """A stopped or failed replica never serves again: another one takes its place."""
    for state in ENDS:
        for event in events:
            with pytest.raises(ImpossibleTransitionError):
                advance(state, event)


@given(EVENTS)
def test_only_a_replica_that_drained_stops(events: list[LifecycleEvent]) -> None:
    """No replica skips the drain."""
    state, before = ReplicaState.STARTING, ReplicaState.STARTING
    for event in events:
        if (state, event) in TRANSITIONS:
            before, state = state, advance(state, event)

    assert state is not ReplicaState.STOPPED or before is ReplicaState.DRAINING
