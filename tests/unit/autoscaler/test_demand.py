"""Demand: what edges report, and what of it is news.

Invariants: without a report of the last seconds nothing is known; what waits now counts, what was
refused counts for a few seconds, whatever HAProxy counted before.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from libs.contracts.ids import ModelName
from libs.testing.records import a_demand_report
from services.autoscaler.domain.demand import FRESH_S, Demand, hear, unserved

M = ModelName("m")
COUNTS = st.integers(min_value=0, max_value=1000)


def test_without_a_report_nothing_is_known() -> None:
    """Unknown is not zero."""
    assert unserved(Demand(), M, now=0.0) is None


@given(held=COUNTS, queued=COUNTS, refused=COUNTS)
def test_what_waits_now_is_wanted(held: int, queued: int, refused: int) -> None:
    """A first report says nothing about when it refused."""
    report = a_demand_report(held=held, queued=queued, refused=refused)

    assert unserved(hear(Demand(), report, now=0.0), M, now=1.0) == held + queued


def test_the_last_report_of_each_edge_counts() -> None:
    """Edges are added up; a model's demand is its own."""
    demand = Demand()
    for report in (
        a_demand_report(held=5),
        a_demand_report(held=2),
        a_demand_report(held=1, edge="other"),
        a_demand_report(held=9, model="n"),
    ):
        demand = hear(demand, report, now=0.0)

    assert unserved(demand, M, now=0.0) == 3


def test_an_old_report_is_none() -> None:
    """Whoever waited then may have gone."""
    demand = hear(Demand(), a_demand_report(held=2), now=0.0)

    assert unserved(demand, M, now=FRESH_S) == 2
    assert unserved(demand, M, now=FRESH_S + 0.1) is None


def test_refused_requests_count_when_they_grow_and_for_a_while() -> None:
    """A HAProxy that holds nothing tells so that a model is wanted."""
    demand = hear(Demand(), a_demand_report(refused=7), now=0.0)
    before = unserved(demand, M, now=0.0)
    demand = hear(demand, a_demand_report(refused=9), now=1.0)
    grown = unserved(demand, M, now=1.0)
    for second in range(2, 9):
        demand = hear(demand, a_demand_report(refused=9), now=float(second))

    assert (before, grown) == (0, 1)
    assert unserved(demand, M, now=8.0) == 0


def test_a_haproxy_that_starts_anew_has_refused_nobody_yet() -> None:
    """Its count falls; that is no demand."""
    demand = hear(Demand(), a_demand_report(refused=7), now=0.0)

    demand = hear(demand, a_demand_report(refused=0), now=1.0)

    assert unserved(demand, M, now=1.0) == 0


def test_what_is_old_is_forgotten() -> None:
    """Models come and go; what is remembered does not grow with them."""
    demand = Demand()
    for number in range(100):
        demand = hear(demand, a_demand_report(model=f"m{number}"), now=float(number))

    assert len(demand.heard) <= FRESH_S + 2
