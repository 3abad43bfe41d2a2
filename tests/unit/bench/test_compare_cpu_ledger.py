"""CPU time by role from readings of processes.

Invariants: time before the first reading does not count; what a process used counts once, whether
it was seen living, or only in its parent's count of ended children, or both.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.bench.compare.cpu_ledger import CpuLedger, Seen, between, grown
from tools.bench.compare.cpu_meter import Found, members, parse_stat
from tools.bench.compare.roles import Role

HAPROXY = "/bin/haproxy -f x"


def seen(pid: int, own_s: float, *, parent: int = 1, reaped_s: float = 0.0, began: int = 0) -> Seen:
    """Return a HAProxy with so much CPU time."""
    return Seen(
        pid=pid, began=began, parent=parent, command=HAPROXY, own_s=own_s, reaped_s=reaped_s
    )


def total_s(*readings: list[Seen]) -> float:
    """Return what a ledger counts from the first reading to the last."""
    ledger = CpuLedger()
    for number, reading in enumerate(readings):
        ledger.take(float(number), reading)
    return ledger.totals[-1].by_role[Role.HAPROXY]


def test_what_was_used_before_the_first_reading_does_not_count() -> None:
    """A stack's start is not its load."""
    assert total_s([seen(1, 100.0)], [seen(1, 101.5)]) == 1.5


def test_a_new_child_counts_from_its_start() -> None:
    """It did not live at the reading before."""
    assert total_s([seen(1, 0.0)], [seen(1, 0.0), seen(2, 0.25, parent=1)]) == 0.25


def test_a_child_that_nobody_saw_counts_through_its_parent() -> None:
    """The kernel adds its time to the parent's when it is reaped."""
    assert total_s([seen(1, 0.0)], [seen(1, 0.0, reaped_s=0.5)]) == 0.5


def test_a_child_that_was_seen_and_ended_counts_once() -> None:
    """Only what it used after the last look at it is added."""
    readings = ([seen(1, 0.0)], [seen(1, 0.0), seen(2, 0.4)], [seen(1, 0.0, reaped_s=0.5)])

    assert total_s(*readings) == pytest.approx(0.5)


def test_a_pid_that_is_used_again_is_another_one() -> None:
    """It started at another time, so its time is not the difference of the two."""
    assert total_s([seen(7, 5.0)], [seen(7, 0.2, began=9)]) == pytest.approx(0.2)


def test_a_role_is_the_one_of_the_moment() -> None:
    """A waiting worker of Ray becomes a replica."""
    ledger = CpuLedger()
    one = Seen(pid=1, began=0, parent=0, command="ray::IDLE", own_s=0.0, reaped_s=0.0)
    other = Seen(
        pid=1, began=0, parent=0, command="ray::ServeReplica:m:replica", own_s=2.0, reaped_s=0.0
    )

    ledger.take(0.0, [one])
    ledger.take(1.0, [other])

    assert between(ledger.totals, 0.0, 1.0)[Role.FRONT_END] == 2.0


@given(
    steps=st.lists(st.floats(0.0, 10.0), min_size=2, max_size=10),
    start=st.floats(0.0, 10.0),
    span=st.floats(0.0, 10.0),
)
def test_growth_between_two_moments_is_part_of_the_whole(
    steps: list[float], start: float, span: float
) -> None:
    """Of a counter that never falls: never negative, never more than all of it."""
    readings = [(float(index), sum(steps[: index + 1])) for index in range(len(steps))]

    part = grown(readings, start, start + span)

    assert -1e-9 <= part <= sum(steps) + 1e-9


def test_between_readings_a_counter_grows_evenly() -> None:
    """A window need not begin at a reading."""
    assert grown([(0.0, 0.0), (1.0, 10.0), (2.0, 10.0)], 0.5, 1.5) == 5.0


def test_a_name_with_parentheses_does_not_shift_the_fields() -> None:
    """The name of a program may hold any character."""
    fields = ["S", "42", *["0"] * 9, "100", "50", "20", "10", *["0"] * 4, "777", "0"]

    found = parse_stat(3, "cmd", f"3 (a) b (c) {' '.join(fields)}")

    assert (found.parent, found.began) == (42, 777)
    assert found.own_s / found.reaped_s == 5.0


def test_what_a_stack_started_belongs_to_it_without_the_mark() -> None:
    """HAProxy runs with an empty environment, below a program that has the mark."""
    found = [
        Found(seen=seen(1, 0.0, parent=0), is_marked=False),
        Found(seen=seen(2, 0.0, parent=1), is_marked=True),
        Found(seen=seen(3, 0.0, parent=2), is_marked=False),
        Found(seen=seen(4, 0.0, parent=3), is_marked=False),
        Found(seen=seen(5, 0.0, parent=1), is_marked=False),
        Found(seen=seen(6, 0.0, parent=99), is_marked=True),
    ]

    assert [each.pid for each in members(found)] == [2, 3, 4, 6]
