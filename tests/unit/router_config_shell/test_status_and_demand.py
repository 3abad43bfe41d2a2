"""What the edge says of itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from libs.contracts.ids import EdgeId, ModelName
from services.router_config.domain.access import KeysOnly, KnownTenants
from services.router_config.domain.model import (
    Admin,
    FrontEnds,
    Health,
    Known,
    Observed,
    ObservedServer,
    PoolName,
    Route,
    Routes,
)
from services.router_config.ports import Counters, EdgeView, PoolDemand
from services.router_config.reporter import demand_reports, routing_status
from services.router_config.service import Standing

Seen = Callable[..., ObservedServer]
Edge = Callable[..., Observed]

EDGE = EdgeId("edge")
COUNTERS = Counters(revision=7, reloads=1, applied_at=5.0, pools_per_kind=4)


def a_view(observed: Observed, *demand: PoolDemand) -> EdgeView:
    """Return an edge as it was seen."""
    return EdgeView(observed=observed, demand=demand, version="2.8.25", pid=42, dropped_spans=0)


def test_the_status_counts_the_servers_that_take_requests(seen: Seen, an_edge: Edge) -> None:
    """Draining ones do not, nor those that HAProxy finds down."""
    edge = an_edge(
        seen("r1.aa", pool="lc0-py"),
        seen("r2.aa", pool="lc0-py", health=Health.UNKNOWN),
        seen("r3.aa", pool="lc0-py", health=Health.DOWN),
        seen("r4.aa", pool="lc0-py", admin=Admin.DRAIN),
    )
    standing = Standing(known=Known(connected_for_s=1.0), view=a_view(edge), counters=COUNTERS)

    status = routing_status(standing, edge_id=EDGE, now=9.0)

    assert (status.servers_ready, status.haproxy_pid, status.haproxy_version) == (2, 42, "2.8.25")
    assert (status.revision, status.reloads, status.applied_at) == (7, 1, 5.0)
    assert (status.degraded, status.observed_at) == ("", 9.0)


@pytest.mark.parametrize(("front_ends", "ready"), [(FrontEnds.PYTHON, 3), (FrontEnds.SPLIT, 1)])
def test_a_replica_is_ready_where_its_names_lead(
    seen: Seen, front_ends: FrontEnds, ready: int
) -> None:
    """A main pool counts only where a name is divided; the twin always counts."""
    edge = Observed(
        servers=(
            *(seen(f"r{index}.aa", pool="lc0-py") for index in (1, 2, 3)),
            seen("r2.aa", admin=Admin.DRAIN),
            seen("r3.aa"),
            seen("r4.aa"),
        ),
        routes=Routes.of(
            {"m": Route(pool=PoolName("lc0"), model=ModelName("m"), front_ends=front_ends)}
        ),
        pools_per_kind=1,
    )
    standing = Standing(known=Known(), view=a_view(edge), counters=COUNTERS)

    assert routing_status(standing, edge_id=EDGE, now=9.0).servers_ready == ready


def test_an_edge_without_a_bus_says_so(an_edge: Edge) -> None:
    """It serves from what it knew."""
    standing = Standing(known=Known(), view=a_view(an_edge()), counters=COUNTERS)

    assert routing_status(standing, edge_id=EDGE, now=9.0).degraded == "bus: away"


def test_a_haproxy_in_trouble_has_no_pid(an_edge: Edge) -> None:
    """What was seen last is history."""
    standing = Standing(
        known=Known(connected_for_s=1.0),
        view=a_view(an_edge()),
        counters=COUNTERS,
        trouble="HAProxy did not come up.",
    )

    status = routing_status(standing, edge_id=EDGE, now=9.0)

    assert status.haproxy_pid is None
    assert status.degraded == "edge: HAProxy did not come up."


def test_before_the_first_look_nothing_is_claimed() -> None:
    """Neither a version nor servers."""
    status = routing_status(Standing(known=Known(), counters=COUNTERS), edge_id=EDGE, now=9.0)

    assert (status.haproxy_pid, status.haproxy_version, status.servers_ready) == (None, "", 0)


def test_demand_is_told_by_model(an_edge: Edge) -> None:
    """A pool that belongs to nobody has no demand."""
    edge = an_edge(routes={"m": ("lc0", "m"), "alias": ("lc0", "m")})
    pools = [
        PoolDemand(pool=PoolName(name), queued=3, held=2, refused_count=9)
        for name in ("lc0", "lc1", "api")
    ]

    (report,) = demand_reports(a_view(edge, *pools), edge_id=EDGE, now=9.0)

    assert (report.model, report.queued, report.held, report.refused_count) == ("m", 3, 2, 9)
    assert report == replace(report, edge_id=EDGE, observed_at=9.0)


def test_an_edge_that_goes_on_with_lost_tenants_says_so(an_edge: Edge) -> None:
    """Whoever emptied the bus should know that old keys still count."""
    edge = replace(an_edge(), access=KeysOnly())
    known = Known(tenants=KnownTenants(), connected_for_s=1.0)
    standing = Standing(known=known, view=a_view(edge), counters=COUNTERS)

    status = routing_status(standing, edge_id=EDGE, now=9.0)

    assert status.degraded.startswith("tenants: ")


def test_an_edge_that_goes_on_with_lost_models_says_so(an_edge: Edge) -> None:
    """Where nothing was routed, nothing is missed: a new stack has no models either."""
    known = Known(models_lost=True, connected_for_s=1.0)
    routed, empty = an_edge(routes={"m": ("lc0", "m")}), an_edge()

    told = [
        routing_status(
            Standing(known=known, view=a_view(edge), counters=COUNTERS), edge_id=EDGE, now=9.0
        ).degraded
        for edge in (routed, empty)
    ]

    assert told == ["models: the bus has none, the edge goes on with those it knew", ""]
