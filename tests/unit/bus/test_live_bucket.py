"""The copy of a bucket.

Invariants: `replace` by what the bucket holds gives the same entries as applying every change;
applying what is known already changes nothing; the view's revision never falls.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from libs.bus.codec import encode
from libs.bus.live_bucket import LiveBucket, RawEntry
from libs.contracts.lease import ReplicaState
from libs.testing.clock import FakeClock
from libs.testing.records import a_lease

BODIES = st.one_of(
    st.none(),
    st.just(b"not a record"),
    st.sampled_from(list(ReplicaState)).map(lambda state: encode(a_lease(state=state))),
)


@st.composite
def histories(draw: st.DrawFn) -> list[RawEntry]:
    """Draw the changes of a bucket, in the order of their revisions."""
    changes = draw(
        st.lists(st.tuples(st.sampled_from(["m.r1", "m.r2", "m.r3"]), BODIES), max_size=20)
    )
    return [
        RawEntry(key=key, body=body, revision=number + 1, headers={})
        for number, (key, body) in enumerate(changes)
    ]


@given(history=histories())
def test_reading_everything_equals_following_everything(history: list[RawEntry]) -> None:
    """A resync after any history finds what the watch has already."""
    followed, reread = LiveBucket("b", FakeClock()), LiveBucket("b", FakeClock())

    for raw in history:
        followed.apply(raw)
    reread.replace(whole(history))

    assert followed.snapshot().entries == reread.snapshot().entries
    assert followed.snapshot().rejected == reread.snapshot().rejected


def test_the_same_value_once_more_is_not_decoded_again() -> None:
    """A refreshed lease gets its revision and trace, and stays the very value that it was."""
    view = LiveBucket("b", FakeClock())
    body = encode(a_lease())
    view.apply(RawEntry(key="m.r1", body=body, revision=1, headers={"traceparent": "one"}))
    (before,) = view.snapshot().entries.values()

    view.apply(RawEntry(key="m.r1", body=bytes(body), revision=2, headers={"traceparent": "two"}))
    (after,) = view.snapshot().entries.values()

    assert after.value is before.value
    assert (after.revision, after.headers) == (2, {"traceparent": "two"})


def test_a_value_that_comes_back_after_its_removal_is_there_again() -> None:
    """What was removed is not remembered as still held."""
    view = LiveBucket("b", FakeClock())
    body = encode(a_lease())
    for revision, said in enumerate((body, None, body), start=1):
        view.apply(RawEntry(key="m.r1", body=said, revision=revision, headers={}))

    (entry,) = view.snapshot().entries.values()

    assert entry.revision == 3


@given(history=histories(), extra=histories())
def test_a_resync_repairs_any_drift(history: list[RawEntry], extra: list[RawEntry]) -> None:
    """Whatever a view believed, a whole read sets it right."""
    drifted, fresh = LiveBucket("b", FakeClock()), LiveBucket("b", FakeClock())
    for raw in extra:
        drifted.apply(raw)

    drifted.replace(whole(history))
    fresh.replace(whole(history))

    assert drifted.snapshot().entries == fresh.snapshot().entries


@given(history=histories())
def test_what_is_known_already_changes_nothing(history: list[RawEntry]) -> None:
    """Repeated events are harmless."""
    live = LiveBucket("b", FakeClock())
    live.replace(whole(history))
    before = live.snapshot()

    live.replace(whole(history))

    assert live.snapshot() == before


@given(history=histories())
def test_the_revision_of_a_view_never_falls(history: list[RawEntry]) -> None:
    """Readers may compare revisions of the same view."""
    live = LiveBucket("b", FakeClock())
    revisions = []

    for raw in history:
        live.apply(raw)
        revisions.append(live.snapshot().revision)
    live.replace({})

    assert revisions == sorted(revisions)
    assert live.snapshot().revision >= max(revisions, default=0)


def test_a_view_is_away_until_it_was_read_whole() -> None:
    """Changes alone do not make a view whole."""
    live = LiveBucket("b", FakeClock())

    live.apply(RawEntry(key="m.r1", body=encode(a_lease()), revision=1, headers={}))

    assert live.snapshot().connected_since is None


def test_a_resync_keeps_the_time_since_when_the_view_is_live() -> None:
    """Only an interruption starts that time anew."""
    clock = FakeClock()
    live = LiveBucket("b", clock)
    live.replace({})
    since = live.snapshot().connected_since

    clock.advance(30)
    live.replace({})
    resynced = live.snapshot().connected_since
    live.away()
    live.replace({})

    assert resynced == since
    assert live.snapshot().connected_since == clock.now()


def whole(history: list[RawEntry]) -> dict[str, RawEntry]:
    """Return what a bucket holds after a history."""
    last = {raw.key: raw for raw in history}
    return {key: raw for key, raw in last.items() if raw.body is not None}
