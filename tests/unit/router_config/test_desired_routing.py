"""Pools for models, routes for names, numbers for servers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace

from libs.contracts.lease import ReplicaLease
from libs.contracts.model_spec import ModelSpec, RoutingPolicy
from services.router_config.domain.desire import LISTING_BYTES_MAX, desire, listing, stable_number
from services.router_config.domain.model import (
    Admin,
    Desired,
    Known,
    Observed,
    ObservedServer,
    PoolName,
    ReloadReason,
    Route,
    Routes,
    Unplaced,
)

Lease = Callable[..., ReplicaLease]
Model = Callable[..., ModelSpec]
Seen = Callable[..., ObservedServer]
Edge = Callable[..., Observed]


def desired(known: Known, observed: Observed) -> Desired:
    """Decide with a grace time that no test is about."""
    return desire(known, observed, grace_s=15.0)


def pools(found: Desired) -> Mapping[str, str]:
    """Return the pool of each name."""
    return {name: route.pool for name, route in found.routes.items()}


def test_a_declared_model_is_routed_before_it_has_a_replica(a_model: Model, an_edge: Edge) -> None:
    """Its clients get 503 and not 404."""
    known = Known(models=(a_model(aliases=("default", "gpt/4")),))

    found = desired(known, an_edge())

    assert pools(found) == {"m": "lc0", "default": "lc0", "gpt/4": "lc0"}
    assert found.servers == ()


def test_each_policy_has_its_own_kind_of_pool(a_model: Model, an_edge: Edge) -> None:
    """The algorithm of a pool cannot change at runtime."""
    known = Known(models=(a_model("a"), a_model("b", policy=RoutingPolicy.PREFIX), a_model("c")))

    assert pools(desired(known, an_edge())) == {"a": "lc0", "b": "px0", "c": "lc1"}


def test_a_model_keeps_its_pool_when_others_come_and_go(a_model: Model, an_edge: Edge) -> None:
    """Only new models choose."""
    edge = an_edge(routes={"m": ("lc2", "m"), "z": ("lc0", "z")})
    known = Known(models=(a_model("m"), a_model("a")))

    assert pools(desired(known, edge)) == {"m": "lc2", "a": "lc1"}


def test_a_pool_with_servers_in_it_is_not_free(a_model: Model, seen: Seen, an_edge: Edge) -> None:
    """Streams of the model that left may still run there."""
    edge = an_edge(seen(pool="lc0", admin=Admin.DRAIN))

    assert pools(desired(Known(models=(a_model(),)), edge)) == {"m": "lc1"}


def test_a_pool_with_requests_is_not_given_to_another_model(a_model: Model, an_edge: Edge) -> None:
    """One that was held for a model that is gone would reach the next one's replica."""
    edge = replace(an_edge(), busy=frozenset({PoolName("lc0-py"), PoolName("lc1")}))

    assert pools(desired(Known(models=(a_model("a"),)), edge)) == {"a": "lc2"}


def test_a_changed_policy_moves_the_model_with_its_servers(
    a_model: Model, a_lease: Lease, seen: Seen, an_edge: Edge
) -> None:
    """The server is in both pools until the route has changed."""
    edge = an_edge(seen(), routes={"m": ("lc0", "m")})
    known = Known(models=(a_model(policy=RoutingPolicy.PREFIX),), leases=(a_lease(),))

    found = desired(known, edge)

    assert pools(found) == {"m": "px0"}
    assert [server.key.pool for server in found.servers] == ["px0-py"]


def test_an_undeclared_model_keeps_all_its_names_while_it_has_members(
    seen: Seen, an_edge: Edge
) -> None:
    """A wiped bus knows no models, but the replicas are there and clients use the aliases."""
    edge = an_edge(seen(), routes={"m": ("lc0", "m"), "default": ("lc0", "m")})

    assert pools(desired(Known(models=()), edge)) == {"m": "lc0", "default": "lc0"}


def test_an_undeclared_model_without_members_is_unknown(an_edge: Edge) -> None:
    """Somebody removed it, and its replicas have left."""
    edge = an_edge(routes={"m": ("lc0", "m")})

    assert desired(Known(models=()), edge).routes == {}


def test_while_no_bus_was_ever_reached_every_route_stays(an_edge: Edge) -> None:
    """Missing is not empty."""
    edge = an_edge(routes={"m": ("lc0", "m"), "default": ("lc0", "m")})

    assert desired(Known(models=None), edge).routes == edge.routes


def test_an_undeclared_model_with_a_ready_replica_is_routed_by_name(
    a_lease: Lease, an_edge: Edge
) -> None:
    """The replica knows what it serves."""
    assert pools(desired(Known(models=(), leases=(a_lease(),)), an_edge())) == {"m": "lc0"}


def test_names_come_before_aliases_and_conflicts_are_told(a_model: Model, an_edge: Edge) -> None:
    """Nobody can take another model's name by an alias."""
    known = Known(models=(a_model("a", aliases=("b", "x")), a_model("b", aliases=("x",))))

    found = desired(known, an_edge())

    assert pools(found) == {"a": "lc0", "b": "lc1", "x": "lc0"}
    assert set(found.conflicts) == {"b:a", "x:b"}


def test_models_beyond_the_last_pool_are_unplaced_with_their_replicas(
    a_model: Model, a_lease: Lease, an_edge: Edge
) -> None:
    """What does not fit is told, and nothing else suffers."""
    known = Known(models=(a_model("a"), a_model("b")), leases=(a_lease(model="b"),))

    found = desired(known, an_edge(pools=1))

    assert found.unplaced == (Unplaced(model="b", reason=ReloadReason.POOLS_EXHAUSTED),)  # type: ignore[arg-type]
    assert pools(found) == {"a": "lc0"}
    assert found.servers == ()


def test_a_server_gets_its_replicas_number_and_limit(a_lease: Lease, an_edge: Edge) -> None:
    """The engine's max_num_seqs is what HAProxy sends at once."""
    (server,) = desired(Known(leases=(a_lease(),)), an_edge()).servers

    assert (server.number, server.maxconn) == (stable_number("r1"), 64)


def test_a_number_that_is_still_taken_is_passed_over(
    a_lease: Lease, seen: Seen, an_edge: Edge
) -> None:
    """The former incarnation of the same replica drains in the same pool."""
    edge = an_edge(seen("r1.aa", admin=Admin.DRAIN, sessions=3), routes={"m": ("lc0", "m")})
    known = Known(leases=(a_lease("r1", incarnation="bb", port=9000),))

    (server,) = desired(known, edge).servers

    assert server.number == stable_number("r1", salt=1)


def test_numbers_are_the_same_in_every_process() -> None:
    """Two edges must agree about the hash ring, today and after an update."""
    assert stable_number("r1") == 499_511_601


def test_the_listing_has_openais_shape() -> None:
    """Models first, then aliases; each entry names its model."""
    routes = {
        "m": Route(pool=PoolName("lc0"), model="m"),  # type: ignore[arg-type]
        "alias": Route(pool=PoolName("lc0"), model="m"),  # type: ignore[arg-type]
    }

    found = json.loads(listing(Routes.of(routes)))

    assert found["object"] == "list"
    assert [card["id"] for card in found["data"]] == ["m", "alias"]
    assert {card["root"] for card in found["data"]} == {"m"}
    assert all(card["object"] == "model" for card in found["data"])


def test_a_listing_that_would_not_fit_leaves_aliases_out() -> None:
    """HAProxy answers from one buffer."""
    names = ["m", *(f"alias-{index:05}" for index in range(5000))]
    routes = {name: Route(pool=PoolName("lc0"), model="m") for name in names}  # type: ignore[arg-type]

    text = listing(Routes.of(routes))

    assert len(text.encode()) <= LISTING_BYTES_MAX
    assert json.loads(text)["data"][0]["id"] == "m"
