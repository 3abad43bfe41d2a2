"""Which leases count.

Invariants: what nobody writes again ends, for good, within its TTL and the slack, by the reader's
own time and whatever is read meanwhile; what is written again within its TTL never ends; clocks
that differ by any amount change neither.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from libs.bus.codec import encode
from libs.bus.lifetimes import SLACK_S, Lifetimes
from libs.bus.live_bucket import LiveBucket, RawEntry
from libs.testing.clock import FakeClock
from libs.testing.records import a_lease

TTL_S = 5.0
BODY = encode(a_lease())
SKEWS_S = st.floats(min_value=-1e9, max_value=1e9)


def lease(*, revision: int, written_at: float) -> RawEntry:
    """Return a lease as it comes from the bus."""
    return RawEntry(
        key="m.r1", body=BODY, revision=revision, headers={}, ttl_s=TTL_S, written_at=written_at
    )


@given(skew_s=SKEWS_S, resyncs=st.lists(st.booleans(), min_size=40, max_size=40))
def test_a_lease_that_nobody_renews_ends_for_good(skew_s: float, resyncs: list[bool]) -> None:
    """Reading the bucket again and again, in which the server keeps it, does not bring it back."""
    clock = FakeClock()
    view = LiveBucket("replicas", clock)
    dead = lease(revision=7, written_at=clock.now() + skew_s)
    view.replace({})
    view.apply(dead)

    shown = []
    for resync in resyncs:
        clock.advance(1.0)
        if resync:
            view.replace({dead.key: dead})
        shown.append(dead.key in view.snapshot().entries)

    last = shown.index(False)
    assert TTL_S <= last + 1 <= TTL_S + SLACK_S
    assert not any(shown[last:])


@given(skew_s=SKEWS_S, resyncs=st.lists(st.booleans(), min_size=40, max_size=40))
def test_a_lease_that_is_renewed_never_ends(skew_s: float, resyncs: list[bool]) -> None:
    """However the clocks differ, and however often everything is read again."""
    clock = FakeClock()
    view = LiveBucket("replicas", clock)
    view.replace({})

    for number, resync in enumerate(resyncs, start=1):
        raw = lease(revision=number, written_at=clock.now() + skew_s)
        view.apply(raw)
        clock.advance(4.0)
        if resync:
            view.replace({raw.key: raw})

        assert "m.r1" in view.snapshot().entries


@given(age_s=st.floats(min_value=TTL_S + 0.1, max_value=1e9))
def test_a_lease_that_is_too_old_when_it_is_first_read_does_not_count(age_s: float) -> None:
    """A reader that has just started counts no dead lease, not even at its first look."""
    clock = FakeClock()
    view = LiveBucket("replicas", clock)

    view.replace({"m.r1": lease(revision=7, written_at=clock.now() - age_s)})
    first = view.snapshot()
    clock.advance(TTL_S + SLACK_S)

    assert dict(first.entries) == {}
    assert first.unproven == ("m.r1",)
    assert view.snapshot().unproven == ()


def test_a_lease_that_looks_too_old_counts_from_its_renewal_on() -> None:
    """Clocks that differ hide a living lease until it is next written."""
    clock = FakeClock()
    view = LiveBucket("replicas", clock)
    view.replace({"m.r1": lease(revision=7, written_at=clock.now() - 60)})
    view.forget_changes()

    view.apply(lease(revision=8, written_at=clock.now() - 59))

    assert set(view.snapshot().entries) == {"m.r1"}
    assert view.snapshot().unproven == ()


def test_while_the_bus_is_away_no_lease_ends() -> None:
    """What could not be heard is no silence."""
    clock = FakeClock()
    view = LiveBucket("replicas", clock)
    view.replace({})
    view.apply(lease(revision=7, written_at=clock.now()))

    view.away()
    clock.advance(600)

    assert set(view.snapshot().entries) == {"m.r1"}


def test_a_lease_of_before_does_not_count_when_the_bus_is_back() -> None:
    """The server's store had it for all that time, and nobody renewed it."""
    clock = FakeClock()
    view = LiveBucket("replicas", clock)
    view.replace({})
    before = lease(revision=7, written_at=clock.now())
    view.apply(before)

    view.away()
    clock.advance(60)
    view.replace({before.key: before})

    assert dict(view.snapshot().entries) == {}


def test_the_end_of_a_lease_is_a_change() -> None:
    """Whoever waits is woken, as by any other change."""
    clock = FakeClock()
    view = LiveBucket("replicas", clock)
    view.replace({})
    view.apply(lease(revision=7, written_at=clock.now()))
    before = view.snapshot().revision

    clock.advance(TTL_S + SLACK_S)

    assert view.snapshot().revision > before


def test_a_closed_view_asks_nothing_of_the_clock() -> None:
    """Its timer would keep it for ever."""
    clock = FakeClock()
    view = LiveBucket("replicas", clock)
    view.replace({})
    view.apply(lease(revision=7, written_at=clock.now()))

    view.close()
    clock.advance(TTL_S + SLACK_S)

    assert set(view.snapshot().entries) == {"m.r1"}


def test_a_value_without_a_ttl_counts_for_ever() -> None:
    """Declared models and tenants are no leases."""
    lifetimes = Lifetimes()

    lifetimes.read("m", revision=1, ttl_s=None, age_s=1e9)
    lifetimes.pass_time(1e9)

    assert lifetimes.counts("m")
    assert not lifetimes
