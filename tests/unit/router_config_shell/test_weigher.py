"""Reports go into a table, and once a round the edge's weights follow it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest

from libs.bus.ports import Received
from libs.contracts.ids import ReplicaId
from libs.contracts.reports import LoadReport
from libs.errors import PeerUnreachableError, PermissionDeniedError
from libs.testing.clock import FakeClock
from libs.testing.eventually import eventually
from libs.testing.in_memory_bus import InMemoryBus
from libs.testing.records import a_load_report
from services.router_config import weigher as weigher_module
from services.router_config.domain.model import Known, Observed, ObservedServer
from services.router_config.domain.plan import Action, Weigh
from services.router_config.ports import Counters, Done, EdgeView, Outcome
from services.router_config.service import Standing
from services.router_config.weigher import FRESH_S, LoadTable, Weigher

Seen = Callable[..., ObservedServer]
Edge = Callable[..., Observed]


@dataclass(slots=True, kw_only=True)
class SeenEdge:
    """An edge that is looked at and changed in memory, and the loop that looks."""

    observed: Observed
    set_weights: list[tuple[str, int]] = field(default_factory=list)
    is_away: bool = False
    trouble: str = ""
    _view: EdgeView | None = None

    def look(self) -> None:
        """Look again."""
        self._view = EdgeView(
            observed=self.observed, demand=(), version="2.8.25", pid=42, dropped_spans=0
        )

    def standing(self) -> Standing:
        """Return what was seen last."""
        counters = Counters(pools_per_kind=4)
        return Standing(known=Known(), view=self._view, counters=counters, trouble=self.trouble)

    async def observe(self) -> EdgeView:
        """Refuse: the weigher uses what the loop saw."""
        raise AssertionError("the weigher must not look itself")

    async def apply(self, action: Action) -> Outcome:
        """Set a weight."""
        if self.is_away:
            raise PeerUnreachableError(peer="haproxy")
        assert isinstance(action, Weigh)
        self.set_weights.append((action.key.name, action.weight))
        return Done(commands=1)

    async def apply_all(self, actions: Sequence[Action]) -> Sequence[Outcome]:
        """Set weights."""
        return [await self.apply(action) for action in actions]


@pytest.fixture
def edge(seen: Seen, an_edge: Edge) -> SeenEdge:
    """Offer an edge with two servers of one model."""
    observed = an_edge(seen("r1.aa"), seen("r2.aa"), routes={"m": ("lc0", "m")})
    made = SeenEdge(observed=observed)
    made.look()
    return made


def uneven() -> list[LoadReport]:
    """Return reports that call for other weights."""
    return [
        replace(a_load_report("r1"), kv_cache_usage_ratio=0.8),
        replace(a_load_report("r2"), kv_cache_usage_ratio=0.2),
    ]


async def hearing(edge: SeenEdge, clock: FakeClock, reports: list[LoadReport]) -> Weigher:
    """Return a weigher that has heard reports."""
    bus = InMemoryBus(clock)
    weigher = Weigher(edge, edge, events=bus, clock=clock)
    async with asyncio.TaskGroup() as tasks:
        following = tasks.create_task(weigher.follow())
        await asyncio.sleep(0)
        for report in reports:
            await bus.report(report)
        await asyncio.sleep(0.01)
        following.cancel()
    return weigher


async def test_weights_follow_the_reports(edge: SeenEdge) -> None:
    """One command for each server whose weight is off."""
    weigher = await hearing(edge, FakeClock(), uneven())

    assert await weigher.adjust() == 2
    assert sorted(edge.set_weights) == [("r1.aa", 8), ("r2.aa", 26)]


async def test_a_look_counts_once(edge: SeenEdge) -> None:
    """Until the loop looks again nobody knows what the commands did."""
    weigher = await hearing(edge, FakeClock(), uneven())
    await weigher.adjust()

    assert await weigher.adjust() == 0
    edge.look()
    assert await weigher.adjust() == 2


async def test_the_last_report_counts(edge: SeenEdge) -> None:
    """Many reports of one replica are one entry."""
    calm = [a_load_report("r1"), a_load_report("r2")]
    weigher = await hearing(edge, FakeClock(), uneven() * 50 + calm)

    assert await weigher.adjust() == 0


async def test_stale_reports_leave_the_weights_as_they_are(edge: SeenEdge) -> None:
    """Silence says nothing about the load."""
    clock = FakeClock()
    weigher = await hearing(edge, clock, uneven())
    clock.advance(FRESH_S + 1)

    assert await weigher.adjust() == 0
    assert edge.set_weights == []


async def test_an_edge_in_trouble_is_left_to_the_loop(edge: SeenEdge) -> None:
    """It is looked at again before anything is changed."""
    weigher = await hearing(edge, FakeClock(), uneven())
    edge.trouble = "haproxy does not answer"

    assert await weigher.adjust() == 0


async def test_an_edge_that_goes_away_is_tried_again_later(edge: SeenEdge) -> None:
    """Nothing is remembered of the failed commands."""
    weigher = await hearing(edge, FakeClock(), uneven())
    edge.is_away = True
    assert await weigher.adjust() == 0
    edge.is_away = False
    edge.look()

    assert await weigher.adjust() == 2


class RefusingBus(InMemoryBus):
    """A bus that does not let anybody listen."""

    refusals = 0

    @asynccontextmanager
    async def reports(self, subjects: str) -> AsyncIterator[AsyncIterator[Received]]:
        """Refuse."""
        self.refusals += 1
        if self.refusals:
            raise PermissionDeniedError(subject=subjects)
        async with super().reports(subjects) as reports:
            yield reports


async def test_a_bus_that_does_not_let_it_listen_is_asked_again(
    edge: SeenEdge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Routing goes on without weights."""
    monkeypatch.setattr(weigher_module, "_RETRY_S", 0.001)
    bus = RefusingBus()
    weigher = Weigher(edge, edge, events=bus, clock=FakeClock())
    following = asyncio.create_task(weigher.follow())

    async def asked_again() -> bool:
        return bus.refusals >= 3

    await eventually(asked_again, what="three attempts")
    assert not following.done()
    assert await weigher.adjust() == 0
    following.cancel()


def test_the_table_is_bounded_and_forgets(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flood of made-up replicas does not push known ones out."""
    monkeypatch.setattr(weigher_module, "REPLICAS_MAX", 2)
    table = LoadTable()
    for name in ("r1", "r2", "r3"):
        table.take(a_load_report(name), 0.0)
    table.take(a_load_report("r1", running=7), 1.0)

    assert {key[1]: report.running for key, report in table.fresh(FRESH_S).items()} == {
        ReplicaId("r1"): 7,
        ReplicaId("r2"): 1,
    }
    assert {key[1] for key in table.fresh(FRESH_S + 0.5)} == {ReplicaId("r1")}
