r"""A replica's life as one table.

    starting --became_ready--> ready --drain_asked--> draining --drained--> stopped
        \________________________ failed, from anywhere ________________________/

Only `ready` takes new requests. A replica that is asked to drain before it was ready has nothing
to finish, but still goes through `draining`, so that every watcher sees the same order.
`stopped` and `failed` are ends: no event leads out of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from libs.contracts.lease import ReplicaState


class LifecycleEvent(StrEnum):
    """What happens to a replica."""

    BECAME_READY = "became_ready"
    DRAIN_ASKED = "drain_asked"
    DRAINED = "drained"
    FAILED = "failed"


class ImpossibleTransitionError(Exception):
    """The event cannot happen in this state: a bug, never an input."""


TRANSITIONS: Final[Mapping[tuple[ReplicaState, LifecycleEvent], ReplicaState]] = MappingProxyType(
    {
        (ReplicaState.STARTING, LifecycleEvent.BECAME_READY): ReplicaState.READY,
        (ReplicaState.STARTING, LifecycleEvent.DRAIN_ASKED): ReplicaState.DRAINING,
        (ReplicaState.READY, LifecycleEvent.DRAIN_ASKED): ReplicaState.DRAINING,
        (ReplicaState.DRAINING, LifecycleEvent.DRAINED): ReplicaState.STOPPED,
        (ReplicaState.STARTING, LifecycleEvent.FAILED): ReplicaState.FAILED,
        (ReplicaState.READY, LifecycleEvent.FAILED): ReplicaState.FAILED,
        (ReplicaState.DRAINING, LifecycleEvent.FAILED): ReplicaState.FAILED,
    }
)

ENDS: Final = frozenset({ReplicaState.STOPPED, ReplicaState.FAILED})


def advance(state: ReplicaState, event: LifecycleEvent) -> ReplicaState:
    """Return the state after an event.

    Raises:
        ImpossibleTransitionError: the table has no such pair.
    """
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        message = f"{event} cannot happen to a replica that is {state}"
        raise ImpossibleTransitionError(message) from None
