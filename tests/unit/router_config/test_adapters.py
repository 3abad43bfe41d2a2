"""An adapter is routed when every replica of its pool can answer for it.

Invariants: no request for an adapter is sent to a replica that says it lacks it; the loss of leases
changes no route; what is not declared is not routed.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from libs.contracts.ids import ModelName
from libs.contracts.lease import Endpoint, ReplicaLease, ReplicaState
from libs.contracts.model_spec import AdapterSpec, EngineSpec, ModelSpec
from services.router_config.domain.adapters import servable
from services.router_config.domain.desire import desire
from services.router_config.domain.membership import Member
from services.router_config.domain.model import (
    Desired,
    Known,
    Observed,
    ObservedServer,
    PoolName,
    Route,
    Routes,
    ServerName,
)

Lease = Callable[..., ReplicaLease]
Model = Callable[..., ModelSpec]
Seen = Callable[..., ObservedServer]
Edge = Callable[..., Observed]

NAMES = st.sampled_from(["sql", "law", "poetry"])


def desired(known: Known, observed: Observed) -> Desired:
    """Decide with a grace time that no test is about."""
    return desire(known, observed, grace_s=15.0)


def names(found: Desired) -> set[str]:
    """Return what is routed."""
    return set(found.routes)


def test_an_adapter_that_every_replica_has_is_routed_to_its_models_pool(
    a_model: Model, a_lease: Lease, an_edge: Edge
) -> None:
    """One pool: HAProxy may choose any of them."""
    leases = (a_lease("r1", adapters=("sql",)), a_lease("r2", port=8001, adapters=("law", "sql")))
    known = Known(models=(a_model(adapters=("sql",)),), leases=leases)

    found = desired(known, an_edge())

    assert found.routes["sql"] == found.routes["m"]


def test_an_adapter_that_one_replica_lacks_is_not_routed_and_its_model_is(
    a_model: Model, a_lease: Lease, an_edge: Edge
) -> None:
    """Half of its requests would be answered with 404."""
    leases = (a_lease("r1", adapters=("sql",)), a_lease("r2", port=8001))
    known = Known(models=(a_model(adapters=("sql",)),), leases=leases)

    assert names(desired(known, an_edge(routes={"sql": ("lc0", "m")}))) == {"m"}


def test_replicas_that_are_not_ready_have_no_say(
    a_model: Model, a_lease: Lease, an_edge: Edge
) -> None:
    """They answer no request."""
    starting = a_lease("r2", state=ReplicaState.STARTING, port=None)
    leases = (a_lease("r1", adapters=("sql",)), starting)
    known = Known(models=(a_model(adapters=("sql",)),), leases=leases)

    assert names(desired(known, an_edge())) == {"m", "sql"}


def test_an_adapter_of_a_model_without_replicas_is_routed_like_its_model(
    a_model: Model, an_edge: Edge
) -> None:
    """Its clients wait for the first replica, which comes with its adapters."""
    known = Known(models=(a_model(adapters=("sql",)),))

    assert names(desired(known, an_edge())) == {"m", "sql"}


def test_an_adapter_that_is_no_longer_declared_is_not_routed(
    a_model: Model, a_lease: Lease, an_edge: Edge
) -> None:
    """The route goes first; replicas go on answering for a while."""
    known = Known(models=(a_model(),), leases=(a_lease(adapters=("sql",)),))

    assert names(desired(known, an_edge(routes={"sql": ("lc0", "m")}))) == {"m"}


def test_lost_leases_leave_a_routed_adapter_where_it_is(
    a_model: Model, seen: Seen, an_edge: Edge
) -> None:
    """Unknown is not without."""
    edge = an_edge(seen(), routes={"m": ("lc0", "m"), "sql": ("lc0", "m")})
    known = Known(models=(a_model(adapters=("law", "sql")),), leases=())

    assert names(desired(known, edge)) == {"m", "sql"}


def test_an_emptied_bus_keeps_adapters_like_aliases(seen: Seen, an_edge: Edge) -> None:
    """Nobody took them back, everything was lost."""
    edge = an_edge(seen(), routes={"m": ("lc0", "m"), "sql": ("lc0", "m")})

    assert names(desired(Known(models=()), edge)) == {"m", "sql"}


def test_names_and_aliases_come_before_adapters_and_conflicts_are_told(
    a_model: Model, a_lease: Lease, an_edge: Edge
) -> None:
    """An adapter takes no name away from a model, and no alias from another model."""
    models = (
        a_model("a", adapters=("b", "x", "y")),
        a_model("b", aliases=("x",), adapters=("y",)),
    )
    leases = (a_lease(model="a", adapters=("b", "x", "y")),)

    found = desired(Known(models=models, leases=leases), an_edge())

    assert {name: route.model for name, route in found.routes.items()} == {
        "a": "a",
        "b": "b",
        "x": "b",
        "y": "a",
    }
    assert set(found.conflicts) == {"b:a", "x:a", "y:b"}


def test_an_adapter_that_is_not_loaded_yet_holds_its_name(
    a_model: Model, a_lease: Lease, an_edge: Edge
) -> None:
    """Otherwise its requests would be answered by another model until it is."""
    models = (a_model("a", adapters=("y",)), a_model("b", adapters=("y",)))
    leases = (a_lease(model="a"), a_lease("r2", model="b", port=8001, adapters=("y",)))

    found = desired(Known(models=models, leases=leases), an_edge())

    assert "y" not in found.routes
    assert found.conflicts == ("y:b",)


def test_the_listing_tells_adapters_from_aliases(
    a_model: Model, a_lease: Lease, an_edge: Edge
) -> None:
    """An alias is its model; an adapter is itself, and its model is its parent."""
    models = (a_model(aliases=("default",), adapters=("sql",)),)
    known = Known(models=models, leases=(a_lease(adapters=("sql",)),))

    cards = {card["id"]: card for card in json.loads(desired(known, an_edge()).listing)["data"]}

    assert (cards["default"]["root"], "parent" in cards["default"]) == ("m", False)
    assert (cards["sql"]["root"], cards["sql"]["parent"]) == ("sql", "m")


@given(
    declared=st.sets(NAMES),
    words=st.lists(st.none() | st.frozensets(NAMES), max_size=4),
    routed=st.sets(NAMES),
)
def test_nobody_who_lacks_an_adapter_is_asked_for_it(
    declared: set[str], words: list[frozenset[str] | None], routed: set[str]
) -> None:
    """And nothing is routed anew on the word of nobody."""
    model = ModelName("m")
    spec = ModelSpec(
        name=model,
        source="x",
        adapters=tuple(AdapterSpec(name=name, source="/x") for name in sorted(declared)),
        engine=EngineSpec(max_loras=3),
    )
    present = [
        Member(
            model=model,
            name=ServerName(f"r{index}.aa"),
            endpoint=Endpoint(host="127.0.0.1", port=8000 + index),
            python=Endpoint(host="127.0.0.1", port=8000 + index),
            maxconn=1,
            adapters=word,
        )
        for index, word in enumerate(words)
    ]
    routes = Routes({Route(pool=PoolName("lc0"), model=model): frozenset(routed)})

    found = {name for _, texts in servable([spec], present, routes) for name in texts}

    assert found <= declared
    assert all(name in word for name in found for word in words if word is not None)
    if None in words:
        assert found <= routed
    else:
        assert found == {name for name in declared if all(name in (w or ()) for w in words)}
