"""What a Serve that seems not to run is worth."""

from __future__ import annotations

from services.autoscaler.domain.presence import MISSING_FOR_S, Presence, is_certain, notice

NONE: frozenset[str] = frozenset()
SOME = frozenset({"n"})
RUNNING = notice(Presence(), runs=True, now=0.0)


def missing(presence: Presence, *, after_s: float) -> Presence:
    """Look twice, with this much time between."""
    return notice(notice(presence, runs=False, now=1.0), runs=False, now=1.0 + after_s)


def test_what_runs_is_certain() -> None:
    """Also after it was missing."""
    back = notice(missing(RUNNING, after_s=3.0), runs=True, now=5.0)

    assert is_certain(back, unreadable=SOME, now=5.0)


def test_what_never_ran_is_missing_at_once_unless_something_could_be_lost() -> None:
    """An application whose declaration cannot be read could not be written again."""
    first = missing(Presence(), after_s=0.0)

    assert is_certain(first, unreadable=NONE, now=1.0)
    assert not is_certain(first, unreadable=SOME, now=1.0)


def test_what_ran_a_moment_ago_is_missing_only_after_a_while() -> None:
    """And then it is, whatever could be lost."""
    short, long = missing(RUNNING, after_s=3.0), missing(RUNNING, after_s=MISSING_FOR_S)

    assert not is_certain(short, unreadable=NONE, now=4.0)
    assert is_certain(long, unreadable=SOME, now=1.0 + MISSING_FOR_S)
