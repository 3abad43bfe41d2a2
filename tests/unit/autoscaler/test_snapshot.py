"""When the autoscaler must not act: nothing that is unknown may take replicas away."""

from __future__ import annotations

from libs.contracts.ids import ModelName
from libs.contracts.lease import ReplicaState
from libs.testing.records import a_lease, a_model
from services.autoscaler.domain.snapshot import (
    Declared,
    Memory,
    Targets,
    hold_reason,
    ready_counts,
    remember,
)

M = ModelName("m")
LIVE = Targets(manual={}, decided={}, live_since=1.0)
AWAY = Targets(manual={}, decided={}, live_since=None)


def test_known_models_are_acted_on() -> None:
    """The ordinary case."""
    assert hold_reason(remembered(declared(1)), declared(1), LIVE) is None


def test_a_bus_that_is_away_holds_everything() -> None:
    """Models or targets may have changed meanwhile."""
    away = Declared(models={M: a_model()}, unreadable=frozenset(), live_since=None)

    assert hold_reason(remembered(declared(1)), away, LIVE) == "bus_away"
    assert hold_reason(remembered(declared(1)), declared(1), AWAY) == "bus_away"


def test_a_bucket_that_was_found_empty_holds_everything() -> None:
    """A server that lost its disk did not mean to remove any model."""
    assert hold_reason(remembered(declared(0)), declared(0), LIVE) == "models_unknown"


def test_models_that_were_seen_to_go_are_gone() -> None:
    """A person removed the last one while we watched."""
    memory = remembered(declared(1), declared(0))

    assert hold_reason(memory, declared(0), LIVE) is None


def test_an_empty_bucket_after_an_interruption_is_unknown_again() -> None:
    """What was seen on an older connection proves nothing."""
    memory = remembered(declared(1), declared(0, since=2.0))

    assert hold_reason(memory, declared(0, since=2.0), LIVE) == "models_unknown"


def test_a_model_that_cannot_be_read_is_not_an_empty_bucket() -> None:
    """There is something, so the bucket was not lost."""
    bad = Declared(models={}, unreadable=frozenset({"m"}), live_since=1.0)

    assert hold_reason(remembered(bad), bad, LIVE) is None


def test_only_ready_replicas_count() -> None:
    """By model."""
    leases = [a_lease("r1"), a_lease("r2", state=ReplicaState.DRAINING), a_lease("r3", model="n")]

    assert ready_counts(leases) == {"m": 1, "n": 1}


def declared(count: int, *, since: float = 1.0) -> Declared:
    """Return a bucket with this many models."""
    names = [f"m{number}" for number in range(count)]
    return Declared(
        models={ModelName(name): a_model(name) for name in names},
        unreadable=frozenset(),
        live_since=since,
    )


def remembered(*looks: Declared) -> Memory:
    """Return the memory after some looks."""
    memory = Memory()
    for look in looks:
        memory = remember(memory, look)
    return memory
