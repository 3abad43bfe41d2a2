"""The gauges, as they are read from a standing; both exporters are scraped in integration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from libs.contracts.ids import ModelName, ReplicaId
from libs.contracts.lease import Endpoint, ReplicaState
from libs.testing.records import a_lease
from services.router_config.adapters.prometheus.server import scrape_targets
from services.router_config.domain.model import (
    Admin,
    Health,
    Known,
    Observed,
    ObservedServer,
    PoolName,
)
from services.router_config.gauges import StandingCollector
from services.router_config.ports import Counters, EdgeView, PoolDemand
from services.router_config.reporter import Degradation, degradations
from services.router_config.service import Standing

Seen = Callable[..., ObservedServer]
Edge = Callable[..., Observed]

COUNTERS = Counters(revision=7, reloads=1, applied_at=5.0, pools_per_kind=4)


class Loop:
    """Stands as it is told."""

    def __init__(self, standing: Standing) -> None:
        self._standing = standing

    def standing(self) -> Standing:
        """Return what it was told."""
        return self._standing


def gauges(standing: Standing) -> dict[tuple[str, ...], float]:
    """Return every value by the name's end and the labels' values."""
    return {
        (sample.name.removeprefix("sluice_router_config_"), *sample.labels.values()): sample.value
        for family in StandingCollector(Loop(standing)).collect()
        for sample in family.samples
    }


def test_before_the_first_look_nothing_is_claimed() -> None:
    """A bus that was never whole has no time since it was."""
    found = gauges(Standing(known=Known(), counters=COUNTERS))

    assert found["routing_revision",] == 7
    assert found["bus_connected",] == 0
    assert ("bus_away_seconds",) not in found
    assert not [key for key in found if key[0] == "servers"]


def test_servers_are_counted_by_pool_and_state(seen: Seen, an_edge: Edge) -> None:
    """By the server that speaks for the replica; what was asked of it comes before its checks."""
    edge = an_edge(
        seen("r1.aa"),
        seen("r1.aa", pool="lc0-py", health=Health.DOWN),
        seen("r2.aa", pool="lc0-py"),
        seen("r3.aa", health=Health.UNKNOWN),
        seen("r4.aa", health=Health.DOWN, admin=Admin.DRAIN),
        seen("r5.aa", pool="px1", health=Health.DOWN),
    )
    view = EdgeView(observed=edge, demand=(), version="2.8.25", pid=1, dropped_spans=0)

    found = gauges(Standing(known=Known(), view=view, counters=COUNTERS))

    assert {key[1:]: n for key, n in found.items() if key[0] == "servers"} == {
        ("lc0", "up"): 2,
        ("lc0", "unknown"): 1,
        ("lc0", "drain"): 1,
        ("px1", "down"): 1,
    }


def test_every_pool_in_use_says_what_it_holds(an_edge: Edge) -> None:
    """The others are left out: there are many more of them."""
    edge = an_edge(routes={"m": ("lc0", "m"), "n": ("lc1", "n")})
    demand = tuple(
        PoolDemand(pool=PoolName(pool), queued=0, held=held, refused_count=0)
        for pool, held in (("lc0", 3), ("lc1", 0), ("lc2", 0))
    )
    view = EdgeView(observed=edge, demand=demand, version="2.8.25", pid=1, dropped_spans=0)

    found = gauges(Standing(known=Known(), view=view, counters=COUNTERS))

    assert {key[1:]: n for key, n in found.items() if key[0] == "held_requests"} == {
        ("lc0",): 3,
        ("lc1",): 0,
    }


def test_every_reason_is_there_as_0_or_1() -> None:
    """So that a dashboard can tell `no` from `not asked`."""
    known = Known(connected_for_s=None, away_for_s=3.5)
    standing = Standing(known=known, counters=COUNTERS, certificate_trouble="no key")

    found = gauges(standing)

    reasons = {key[1]: value for key, value in found.items() if key[0] == "degraded"}
    assert reasons == {each.value: each in ("bus", "certificate") for each in Degradation}
    assert found["bus_away_seconds",] == 3.5
    told = degradations(standing)
    assert (told[Degradation.CERTIFICATE], told[Degradation.BUS]) == ("no key", "away")


def test_prometheus_is_sent_to_replicas_that_serve() -> None:
    """In a stable order; what has no address yet or has ended cannot be asked."""
    leases = [
        replace(
            a_lease(name),
            model=ModelName("m"),
            replica_id=ReplicaId(name),
            address=Endpoint(host="10.0.0.1", port=port) if port else None,
            state=state,
        )
        for name, port, state in (
            ("b", 2, ReplicaState.DRAINING),
            ("a", 1, ReplicaState.READY),
            ("starts", None, ReplicaState.STARTING),
            ("ended", 3, ReplicaState.STOPPED),
        )
    ]

    assert scrape_targets(leases, port=9) == [
        {
            "targets": ["127.0.0.1:9"],
            "labels": {
                "__metrics_path__": f"/replicas/m/{replica}/metrics",
                "instance": f"m/{replica}",
                "model": "m",
                "replica": replica,
            },
        }
        for replica in ("a", "b")
    ]
