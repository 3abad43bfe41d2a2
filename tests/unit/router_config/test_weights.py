"""Weights from the replicas' load.

- Weights stay within their bounds.
- Equal loads change nothing, and lead back to equal weights.
- With the same reports a few rounds lead to no further change.
- Less room never gives more weight.
- What is unknown is left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.contracts.ids import ModelName, ReplicaId
from libs.contracts.lease import Endpoint
from libs.contracts.reports import LoadReport
from services.router_config.domain.model import (
    SERVER_WEIGHT,
    Admin,
    Health,
    Observed,
    ObservedServer,
    PoolName,
    Route,
    Routes,
    Server,
    ServerKey,
    ServerName,
)
from services.router_config.domain.weights import (
    CHANGES_MAX,
    DEAD_BAND_RATIO,
    PRESSED_WEIGHT,
    WEIGHT_MAX,
    WEIGHT_MIN,
    Loads,
    weigh,
)

Seen = Callable[..., ObservedServer]
Edge = Callable[..., Observed]

MODEL = ModelName("m")
LEAST_LOADED = {"m": ("lc0", "m")}
PREFIX = {"m": ("px0", "m")}
ROUNDS_MAX = 8


def load(
    replica: str, *, kv: float | None = 0.2, running: int | None = 4, waiting: int | None = 0
) -> tuple[tuple[ModelName, ReplicaId], LoadReport]:
    """Return one replica's report with its key."""
    report = LoadReport(
        model=MODEL,
        replica_id=ReplicaId(replica),
        running=running,
        waiting=waiting,
        kv_cache_usage_ratio=kv,
        ttft_p50_s=None,
        tokens_per_s=None,
        observed_at=0.0,
    )
    return (MODEL, report.replica_id), report


def weights(observed: Observed, loads: Loads) -> dict[str, int]:
    """Return the weights to set, by replica."""
    return {a.key.name.rpartition(".")[0]: a.weight for a in weigh(observed, loads)}


def applied(observed: Observed, loads: Loads) -> Observed:
    """Set the weights as HAProxy does."""
    changes: Mapping[ServerKey, int] = {a.key: a.weight for a in weigh(observed, loads)}
    return replace(
        observed,
        servers=tuple(
            replace(seen, weight=changes.get(seen.server.key, seen.weight))
            for seen in observed.servers
        ),
    )


def test_a_replica_with_less_room_gets_less(seen: Seen, an_edge: Edge) -> None:
    """Its KV cache is fuller than the others', so each of its requests is heavier."""
    edge = an_edge(seen("r1.aa"), seen("r2.aa", port=8001), routes=LEAST_LOADED)

    found = weights(edge, dict([load("r1", kv=0.8), load("r2", kv=0.2)]))

    assert found == {"r1": 8, "r2": 26}


def test_a_queue_in_the_engine_counts_like_a_full_cache(seen: Seen, an_edge: Edge) -> None:
    """As many waiting as running halve the room."""
    edge = an_edge(seen("r1.aa"), seen("r2.aa", port=8001), routes=LEAST_LOADED)

    found = weights(edge, dict([load("r1", running=3, waiting=4), load("r2", running=3)]))

    assert found == {"r1": 11, "r2": 21}


def test_a_small_difference_changes_nothing(seen: Seen, an_edge: Edge) -> None:
    """A weight that follows every report would never rest."""
    edge = an_edge(seen("r1.aa"), seen("r2.aa", port=8001), routes=LEAST_LOADED)

    assert weights(edge, dict([load("r1", kv=0.4), load("r2", kv=0.2)])) == {}


@pytest.mark.parametrize("missing", ["kv", "running", "waiting"])
def test_an_unknown_load_is_not_an_idle_one(seen: Seen, an_edge: Edge, missing: str) -> None:
    """Its server keeps its weight, and the others are not measured against it."""
    edge = an_edge(replace(seen("r1.aa"), weight=9), seen("r2.aa", port=8001), routes=LEAST_LOADED)

    assert weights(edge, dict([load("r1", **{missing: None}), load("r2", kv=0.9)])) == {}


def test_a_replica_that_does_not_report_keeps_its_weight(seen: Seen, an_edge: Edge) -> None:
    """Also when all the others move."""
    edge = an_edge(
        replace(seen("r0.aa", port=8002), weight=40),
        seen("r1.aa"),
        seen("r2.aa", port=8001),
        routes=LEAST_LOADED,
    )

    found = weights(edge, dict([load("r1", kv=0.9), load("r2", kv=0.1)]))

    assert "r0" not in found
    assert found["r1"] < SERVER_WEIGHT < found["r2"]


@pytest.mark.parametrize(
    "away", [{"admin": Admin.DRAIN}, {"admin": Admin.MAINT}, {"health": Health.DOWN}]
)
def test_a_server_that_takes_no_requests_is_left_alone(
    seen: Seen, an_edge: Edge, away: dict[str, object]
) -> None:
    """It counts in no mean either."""
    edge = an_edge(seen("r1.aa", **away), seen("r2.aa", port=8001), routes=LEAST_LOADED)

    assert weights(edge, dict([load("r1", kv=0.99), load("r2", kv=0.1)])) == {}


def test_a_pool_without_a_route_is_left_alone(seen: Seen, an_edge: Edge) -> None:
    """Nobody knows whose replicas these are."""
    edge = an_edge(seen("r1.aa"), seen("r2.aa", port=8001))

    assert weights(edge, dict([load("r1", kv=0.99), load("r2", kv=0.1)])) == {}


def test_a_prefix_pool_moves_no_keys_for_a_difference(seen: Seen, an_edge: Edge) -> None:
    """A changed weight is a changed ring: only a replica short of memory is worth that."""
    edge = an_edge(seen("r1.aa", pool="px0"), seen("r2.aa", pool="px0", port=8001), routes=PREFIX)

    assert weights(edge, dict([load("r1", kv=0.94, waiting=9), load("r2", kv=0.0)])) == {}


def test_a_pressed_replica_of_a_prefix_pool_gives_up_half_of_its_keys(
    seen: Seen, an_edge: Edge
) -> None:
    """Until it has room again; between the two nothing moves."""
    calm = an_edge(seen("r1.aa", pool="px0"), seen("r2.aa", pool="px0", port=8001), routes=PREFIX)

    eased = applied(calm, dict([load("r1", kv=0.97, waiting=2), load("r2")]))

    assert [server.weight for server in eased.servers] == [PRESSED_WEIGHT, SERVER_WEIGHT]
    assert weights(eased, dict([load("r1", kv=0.9, waiting=0), load("r2")])) == {}
    assert weights(eased, dict([load("r1", kv=0.7, waiting=0), load("r2")])) == {
        "r1": SERVER_WEIGHT
    }


def test_a_prefix_pool_that_is_pressed_everywhere_keeps_its_ring(seen: Seen, an_edge: Edge) -> None:
    """There is nobody with room to take the keys."""
    edge = an_edge(seen("r1.aa", pool="px0"), seen("r2.aa", pool="px0", port=8001), routes=PREFIX)

    assert weights(edge, dict([load(r, kv=1.0, waiting=5) for r in ("r1", "r2")])) == {}


def test_one_round_changes_a_bounded_number_and_the_farthest_first() -> None:
    """What is left follows in the next rounds."""
    servers = tuple(a_server(index, weight=16) for index in range(200))
    reports = dict([load(f"r{index}", kv=0.9 if index % 2 else 0.1) for index in range(200)])
    edge = on_edge(servers)

    first = weigh(edge, reports)

    assert len(first) == CHANGES_MAX
    assert len(weigh(applied(edge, reports), reports)) == CHANGES_MAX


def a_server(index: int, *, weight: int, pool: str = "lc0") -> ObservedServer:
    """Return a server that is up, by its number."""
    return ObservedServer(
        server=Server(
            key=ServerKey(pool=PoolName(pool), name=ServerName(f"r{index}.aa")),
            number=index + 1,
            endpoint=Endpoint(host="127.0.0.1", port=8000 + index),
            maxconn=64,
        ),
        admin=Admin.READY,
        health=Health.UP,
        checked=True,
        sessions=0,
        queued=0,
        weight=weight,
    )


def on_edge(servers: tuple[ObservedServer, ...]) -> Observed:
    """Return an edge with one model in the servers' pool."""
    pool = servers[0].server.key.pool if servers else PoolName("lc0")
    routes = Routes.of({"m": Route(pool=pool, model=MODEL)})
    return Observed(servers=servers, routes=routes, pools_per_kind=1)


reports = st.tuples(st.floats(0, 1), st.integers(0, 64), st.integers(0, 200))
pools = st.sampled_from(["lc0", "px0"])
any_weight = st.integers(1, 256)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Observed, Loads]:
    """Draw a pool with any weights, of which some replicas report."""
    pool = draw(pools)
    given_weights = draw(st.lists(any_weight, min_size=1, max_size=8))
    loads: dict[tuple[ModelName, ReplicaId], LoadReport] = {}
    for index in range(len(given_weights)):
        said = draw(st.none() | reports)
        if said is not None:
            kv, running, waiting = said
            loads.update([load(f"r{index}", kv=kv, running=running, waiting=waiting)])
    servers = (a_server(i, weight=w, pool=pool) for i, w in enumerate(given_weights))
    return on_edge(tuple(servers)), loads


@given(worlds())
def test_weights_stay_within_bounds_and_unknown_ones_as_they_are(
    world: tuple[Observed, Loads],
) -> None:
    """Whatever the weights were before."""
    edge, loads = world
    after = applied(edge, loads)

    for before, now in zip(edge.servers, after.servers, strict=True):
        reported = any(before.server.key.name == f"{replica}.aa" for _, replica in loads)
        assert now.weight == before.weight or (reported and WEIGHT_MIN <= now.weight <= WEIGHT_MAX)


@given(worlds())
def test_the_same_reports_come_to_rest(world: tuple[Observed, Loads]) -> None:
    """No weight swings."""
    edge, loads = world
    for _ in range(ROUNDS_MAX):
        edge = applied(edge, loads)

    assert weigh(edge, loads) == ()


@given(reports, st.integers(1, 8), st.booleans())
def test_equal_loads_lead_to_equal_weights(
    said: tuple[float, int, int],
    count: int,
    start_apart: bool,  # noqa: FBT001 - a drawn value
) -> None:
    """However high they are."""
    kv, running, waiting = said
    servers = tuple(a_server(i, weight=4 + 20 * i if start_apart else 16) for i in range(count))
    loads = dict(load(f"r{i}", kv=kv, running=running, waiting=waiting) for i in range(count))
    edge = on_edge(servers)
    if not start_apart:
        assert weigh(edge, loads) == ()
    for _ in range(ROUNDS_MAX):
        edge = applied(edge, loads)

    for server in edge.servers:
        assert abs(server.weight - SERVER_WEIGHT) <= DEAD_BAND_RATIO * server.weight


@given(st.lists(reports, min_size=2, max_size=6), st.integers(WEIGHT_MIN, WEIGHT_MAX))
def test_less_room_never_gives_more_weight(said: list[tuple[float, int, int]], weight: int) -> None:
    """A fuller cache and a longer queue than a peer's, from the same weight as the peer's."""
    edge = on_edge(tuple(a_server(i, weight=weight) for i in range(len(said))))
    loads = dict(
        load(f"r{i}", kv=kv, running=8, waiting=waiting) for i, (kv, _, waiting) in enumerate(said)
    )
    after = [server.weight for server in applied(edge, loads).servers]

    for mine, (kv, _, waiting) in zip(after, said, strict=True):
        for other, (other_kv, _, other_waiting) in zip(after, said, strict=True):
            if kv >= other_kv and waiting >= other_waiting:
                assert mine <= other
