"""What every `StateStore` promises; run against the fake and against a real nats-server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from opentelemetry.sdk.trace import TracerProvider

from libs.bus.ports import BucketView, Entry, Record, Snapshot
from libs.contracts.lease import ReplicaState
from libs.errors import PeerUnreachableError, TerminalError
from libs.testing.bus_worlds import BusUnderTest
from libs.testing.records import a_lease, a_model, with_state

REPLICAS = "replicas"
MODELS = "models"
KEY = "m.r1"


async def test_a_written_value_is_read_back_with_its_revision(world: BusUnderTest) -> None:
    """What `put` returns is the revision that `get` finds."""
    revision = await world.bus.put(REPLICAS, KEY, a_lease())

    entry = await world.bus.get(REPLICAS, KEY)

    assert entry == Entry(key=KEY, value=a_lease(), revision=revision, headers={})


async def test_a_key_that_is_not_there_reads_as_none(world: BusUnderTest) -> None:
    """Absence is no error."""
    assert await world.bus.get(REPLICAS, KEY) is None


async def test_a_view_opens_with_what_was_written_before(world: BusUnderTest) -> None:
    """Entering a view returns once the bucket has been read whole."""
    await world.bus.put(REPLICAS, "m.r1", a_lease("r1"))
    await world.bus.put(REPLICAS, "m.r2", a_lease("r2"))

    async with world.bus.view(REPLICAS) as view:
        snapshot = view.snapshot()

    assert set(snapshot.entries) == {"m.r1", "m.r2"}
    assert snapshot.connected_since is not None


async def test_an_empty_bucket_opens_live(world: BusUnderTest) -> None:
    """Nothing in it is a state like any other, and known to be true."""
    async with world.bus.view(REPLICAS) as view:
        snapshot = view.snapshot()

    assert dict(snapshot.entries) == {}
    assert snapshot.connected_since is not None


async def test_opening_a_view_is_no_change(world: BusUnderTest) -> None:
    """The first wake is about something that came after the first snapshot."""
    await world.bus.put(REPLICAS, KEY, a_lease())

    async with world.bus.view(REPLICAS) as view:
        woken = await wakes_within(world, view, 0.3)

    assert not woken


async def test_a_change_wakes_the_view(world: BusUnderTest) -> None:
    """A write by anybody reaches every open view."""
    async with world.bus.view(REPLICAS) as view:
        before = view.snapshot().revision
        await world.bus.put(REPLICAS, KEY, a_lease())
        snapshot = await seen(view, has(KEY))

    assert snapshot.entries[KEY].value == a_lease()
    assert snapshot.revision > before


async def test_many_changes_are_one_state(world: BusUnderTest) -> None:
    """The last value counts, however many came before it."""
    states = [ReplicaState.STARTING, ReplicaState.READY, ReplicaState.DRAINING]

    async with world.bus.view(REPLICAS) as view:
        for state in states:
            await world.bus.put(REPLICAS, KEY, with_state(a_lease(), state))
        snapshot = await seen(view, holds(with_state(a_lease(), states[-1])))

    assert len(snapshot.entries) == 1


async def test_writing_an_equal_value_again_wakes_nobody(world: BusUnderTest) -> None:
    """A lease that is refreshed once a second must not cost its readers a reconcile."""
    await world.bus.put(REPLICAS, KEY, a_lease())

    async with world.bus.view(REPLICAS) as view:
        before = view.snapshot().revision
        renewed = await world.bus.put(REPLICAS, KEY, a_lease())
        woken = await wakes_within(world, view, 0.3)
        after = view.snapshot()

    assert not woken
    assert after.revision == before
    assert after.entries[KEY].revision == renewed


async def test_a_lease_that_is_not_refreshed_expires_everywhere(world: BusUnderTest) -> None:
    """Silence is seen by views and by reads alike."""
    async with world.bus.view(REPLICAS) as view:
        await world.bus.put(REPLICAS, KEY, a_lease(), ttl_s=1)
        await seen(view, has(KEY))
        await world.pass_time(1.2)
        await seen(view, lambda s: not has(KEY)(s))

    assert await world.bus.get(REPLICAS, KEY) is None


async def test_a_refreshed_lease_lives(world: BusUnderTest) -> None:
    """Each write starts the time anew."""
    for _ in range(3):
        await world.bus.put(REPLICAS, KEY, a_lease(), ttl_s=1)
        await world.pass_time(0.6)

    assert await world.bus.get(REPLICAS, KEY) is not None


async def test_a_deleted_key_is_gone_from_views_and_reads(world: BusUnderTest) -> None:
    """Deletion is a change."""
    await world.bus.put(REPLICAS, KEY, a_lease())

    async with world.bus.view(REPLICAS) as view:
        await world.bus.delete(REPLICAS, KEY)
        await seen(view, lambda s: not has(KEY)(s))

    assert await world.bus.get(REPLICAS, KEY) is None


async def test_deleting_what_is_not_there_is_no_error(world: BusUnderTest) -> None:
    """Removal is idempotent."""
    await world.bus.delete(REPLICAS, KEY)
    await world.bus.delete(REPLICAS, KEY)

    assert await world.bus.get(REPLICAS, KEY) is None


async def test_only_the_revision_that_was_read_is_deleted(world: BusUnderTest) -> None:
    """What somebody else wrote meanwhile stays."""
    old = await world.bus.put(MODELS, "m", a_model())
    new = await world.bus.put(MODELS, "m", a_model(replicas_min=2))

    assert not await world.bus.delete(MODELS, "m", revision=old)
    assert await world.bus.get(MODELS, "m") is not None
    assert await world.bus.delete(MODELS, "m", revision=new)
    assert await world.bus.get(MODELS, "m") is None


async def test_only_one_of_two_creators_wins(world: BusUnderTest) -> None:
    """`put_if` with revision 0 creates and never overwrites."""
    first = await world.bus.put_if(REPLICAS, KEY, a_lease("r1"), revision=0)
    second = await world.bus.put_if(REPLICAS, KEY, a_lease("r2"), revision=0)

    assert first is not None
    assert second is None
    assert await value_of(world, KEY) == a_lease("r1")


async def test_a_stale_revision_does_not_overwrite(world: BusUnderTest) -> None:
    """`put_if` takes the present revision only."""
    old = await world.bus.put(REPLICAS, KEY, a_lease("r1"))
    new = await world.bus.put(REPLICAS, KEY, a_lease("r2"))

    assert await world.bus.put_if(REPLICAS, KEY, a_lease("r3"), revision=old) is None
    assert await world.bus.put_if(REPLICAS, KEY, a_lease("r4"), revision=new) is not None


@pytest.mark.parametrize("how", ["deleted", "expired"])
async def test_a_key_that_is_gone_can_be_created_again(world: BusUnderTest, how: str) -> None:
    """The mark that a removal leaves behind is not a value."""
    await world.bus.put(REPLICAS, KEY, a_lease("r1"), ttl_s=1)
    if how == "deleted":
        await world.bus.delete(REPLICAS, KEY)
    else:
        await world.pass_time(1.3)

    later = with_state(a_lease("r1"), ReplicaState.STARTING)
    revision = await world.bus.put_if(REPLICAS, KEY, later, revision=0, ttl_s=5)

    assert revision is not None
    assert await value_of(world, KEY) == later


async def test_a_value_that_cannot_be_decoded_is_named_not_served(world: BusUnderTest) -> None:
    """One bad value harms neither its neighbours nor the view."""
    await world.bus.put(REPLICAS, "m.good", a_lease("good"))
    await world.put_raw(REPLICAS, "m.bad", b'{"schema": "replica.lease.v999"}')

    async with world.bus.view(REPLICAS) as view:
        snapshot = view.snapshot()

    assert set(snapshot.entries) == {"m.good"}
    assert set(snapshot.rejected) == {"m.bad"}
    assert "replica.lease.v999" in snapshot.rejected["m.bad"]
    with pytest.raises(TerminalError):
        await world.bus.get(REPLICAS, "m.bad")


async def test_a_record_under_anothers_key_is_named_not_served(world: BusUnderTest) -> None:
    """Whoever may write leases may not speak for another replica by its key."""
    await world.bus.put(REPLICAS, "m.r1", a_lease("r1"))
    await world.bus.put(REPLICAS, "m.r2", a_lease("r1"))

    async with world.bus.view(REPLICAS) as view:
        snapshot = view.snapshot()

    assert set(snapshot.entries) == {"m.r1"}
    assert dict(snapshot.rejected) == {"m.r2": "It is about m.r1."}


async def test_buckets_do_not_see_each_other(world: BusUnderTest) -> None:
    """A view shows its own bucket."""
    await world.bus.put(REPLICAS, KEY, a_lease())

    async with world.bus.view("models") as view:
        assert dict(view.snapshot().entries) == {}


async def test_the_trace_context_of_the_writer_reaches_the_reader(world: BusUnderTest) -> None:
    """`traceparent` travels in the headers of the value."""
    tracer = TracerProvider().get_tracer("test")

    with tracer.start_as_current_span("write") as span:
        await world.bus.put(REPLICAS, KEY, a_lease())
    async with world.bus.view(REPLICAS) as view:
        entry = view.snapshot().entries[KEY]

    assert f"{span.get_span_context().trace_id:032x}" in entry.headers["traceparent"]


async def test_a_view_keeps_the_last_known_state_while_the_bus_is_away(world: BusUnderTest) -> None:
    """Losing the bus wakes the reader, who then knows that the state may be old."""
    await world.bus.put(REPLICAS, KEY, a_lease())

    async with world.bus.view(REPLICAS) as view:
        await world.go_away()
        snapshot = await seen(view, lambda s: s.connected_since is None)

    assert set(snapshot.entries) == {KEY}


async def test_writing_while_the_bus_is_away_fails_in_time(world: BusUnderTest) -> None:
    """Nothing is kept back to be written later, when it may be wrong."""
    await world.go_away()

    async with asyncio.timeout(10):
        with pytest.raises(PeerUnreachableError):
            await world.bus.put(REPLICAS, KEY, a_lease())
        with pytest.raises(PeerUnreachableError):
            await world.bus.get(REPLICAS, KEY)


async def test_opening_a_view_while_the_bus_is_away_fails_in_time(world: BusUnderTest) -> None:
    """A reader that never read the bucket must not take nothing for empty."""
    await world.go_away()

    async with asyncio.timeout(6):
        with pytest.raises(PeerUnreachableError):
            async with world.bus.view(REPLICAS):
                pass


async def test_a_view_reads_everything_again_when_the_bus_is_back(world: BusUnderTest) -> None:
    """The same view goes on, with a fresh `connected_since`."""
    await world.bus.put(MODELS, "m", a_model())

    async with world.bus.view(MODELS) as view:
        before = view.snapshot().connected_since
        await world.go_away()
        await seen(view, lambda s: s.connected_since is None)
        await world.come_back()
        snapshot = await seen(view, lambda s: s.connected_since is not None)
        await world.bus.put(MODELS, "m2", a_model("m2"))
        await seen(view, has("m2"))

    assert set(snapshot.entries) == {"m"}
    assert before is not None
    assert snapshot.connected_since is not None
    assert snapshot.connected_since > before


async def test_a_view_of_a_bus_that_lost_its_disk_ends_up_empty_and_live(
    world: BusUnderTest,
) -> None:
    """What the server no longer knows is gone, and revisions of the view still grow."""
    await world.bus.put(REPLICAS, KEY, a_lease())

    async with world.bus.view(REPLICAS) as view:
        before = view.snapshot().revision
        await world.go_away()
        await seen(view, lambda s: s.connected_since is None)
        await world.come_back(wiped=True)
        snapshot = await seen(view, lambda s: s.connected_since is not None)
        await world.bus.put(REPLICAS, "m.r2", a_lease("r2"))
        await seen(view, has("m.r2"))

    assert dict(snapshot.entries) == {}
    assert snapshot.revision > before


async def seen(view: BucketView, wanted: Callable[[Snapshot], bool]) -> Snapshot:
    """Wait until the view satisfies a predicate and return that snapshot."""
    async with asyncio.timeout(5):
        while not wanted(view.snapshot()):
            await view.changed(timeout_s=5)
    return view.snapshot()


async def wakes_within(world: BusUnderTest, view: BucketView, seconds: float) -> bool:
    """Tell whether the view wakes its reader in this time."""
    waiting = asyncio.create_task(view.changed(timeout_s=seconds))
    await asyncio.sleep(0)
    await world.pass_time(seconds + 0.1)
    return await waiting


def has(key: str) -> Callable[[Snapshot], bool]:
    """Ask a snapshot for a key."""
    return lambda snapshot: key in snapshot.entries


def holds(value: Record) -> Callable[[Snapshot], bool]:
    """Ask a snapshot whether its key has this value."""
    return lambda snapshot: has(KEY)(snapshot) and snapshot.entries[KEY].value == value


async def value_of(world: BusUnderTest, key: str) -> Record | None:
    """Read one value."""
    entry = await world.bus.get(REPLICAS, key)
    return entry.value if entry else None
