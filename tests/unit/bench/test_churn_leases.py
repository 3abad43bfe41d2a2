"""The bench's leases are those of replicas: renewed while they live, withdrawn when they go."""

from __future__ import annotations

from libs.contracts.ids import ModelName
from libs.contracts.lease import Endpoint, ReplicaLease, ReplicaState
from libs.contracts.subjects import REPLICAS_BUCKET
from libs.testing.in_memory_bus import InMemoryBus
from tools.bench.churn.leases import Leases

ENDPOINT = Endpoint(host="127.0.0.1", port=4000)


async def held(bus: InMemoryBus, name: str) -> ReplicaLease | None:
    """Return a lease as it stands on the bus."""
    entry = await bus.get(REPLICAS_BUCKET, f"m.{name}")
    return entry.value if entry and isinstance(entry.value, ReplicaLease) else None


async def test_a_replica_keeps_its_incarnation_from_state_to_state() -> None:
    """Only what is said changes."""
    bus = InMemoryBus()
    leases = Leases(bus, ModelName("m"), max_num_seqs=70)

    await leases.begin("churn-1", ENDPOINT)
    before = await held(bus, "churn-1")
    await leases.say("churn-1", ReplicaState.DRAINING)
    after = await held(bus, "churn-1")

    assert before is not None
    assert after is not None
    assert (before.state, after.state) == (ReplicaState.STARTING, ReplicaState.DRAINING)
    assert (after.incarnation, after.address) == (before.incarnation, ENDPOINT)
    assert after.max_num_seqs == 70


async def test_what_is_withdrawn_is_gone() -> None:
    """One, or all that are left."""
    bus = InMemoryBus()
    leases = Leases(bus, ModelName("m"), max_num_seqs=64)
    for name in ("churn-1", "churn-2", "churn-3"):
        await leases.begin(name, ENDPOINT)

    await leases.withdraw("churn-1")
    await leases.stop_all()
    stopped = await held(bus, "churn-2")
    await leases.withdraw_all()

    assert await held(bus, "churn-1") is None
    assert stopped is not None
    assert stopped.state is ReplicaState.STOPPED
    assert [await held(bus, name) for name in ("churn-2", "churn-3")] == [None, None]
