"""Leases, models and observed servers with sensible values."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from libs.contracts.ids import Incarnation, ModelName, ReplicaId
from libs.contracts.lease import Endpoint, ReplicaLease, ReplicaState, Versions
from libs.contracts.model_spec import (
    AdapterSpec,
    EngineSpec,
    ModelSpec,
    RoutingPolicy,
    RoutingSpec,
)
from services.router_config.domain.desire import listing, stable_number
from services.router_config.domain.model import (
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


def make_lease(  # noqa: PLR0913 (a test names only what it is about)
    replica: str = "r1",
    *,
    model: str = "m",
    state: ReplicaState = ReplicaState.READY,
    incarnation: str = "aa",
    host: str = "127.0.0.1",
    port: int | None = 8000,
    started_at: float = 1.0,
    adapters: tuple[str, ...] = (),
) -> ReplicaLease:
    """Return the lease of one replica."""
    return ReplicaLease(
        replica_id=ReplicaId(replica),
        incarnation=Incarnation(incarnation),
        model=ModelName(model),
        state=state,
        address=None if port is None else Endpoint(host=host, port=port),
        max_num_seqs=64,
        executor="RayExecutorV2",
        device="simulated",
        pid=1,
        versions=Versions(sluice="0", vllm="0", ray="0"),
        started_at=started_at,
        adapters=adapters,
    )


def make_model(
    name: str = "m",
    *,
    aliases: tuple[str, ...] = (),
    adapters: tuple[str, ...] = (),
    policy: RoutingPolicy = RoutingPolicy.LEAST_LOADED,
) -> ModelSpec:
    """Return a model's declaration."""
    return ModelSpec(
        name=ModelName(name),
        source="builtin:none",
        aliases=aliases,
        adapters=tuple(AdapterSpec(name=each, source="/adapters") for each in adapters),
        engine=EngineSpec(max_loras=len(adapters)),
        routing=RoutingSpec(policy=policy),
    )


def make_seen(  # noqa: PLR0913 (a test names only what it is about)
    name: str = "r1.aa",
    *,
    pool: str = "lc0-py",
    port: int = 8000,
    admin: Admin = Admin.READY,
    health: Health = Health.UP,
    checked: bool = True,
    sessions: int = 0,
    queued: int = 0,
) -> ObservedServer:
    """Return a server as HAProxy shows it."""
    return ObservedServer(
        server=Server(
            key=ServerKey(pool=PoolName(pool), name=ServerName(name)),
            number=stable_number(name.rpartition(".")[0]),
            endpoint=Endpoint(host="127.0.0.1", port=port),
            maxconn=64,
        ),
        admin=admin,
        health=health,
        checked=checked,
        sessions=sessions,
        queued=queued,
    )


def make_observed(
    *servers: ObservedServer, routes: dict[str, tuple[str, str]] | None = None, pools: int = 4
) -> Observed:
    """Return an edge; `routes` give (pool, model) for each name."""
    made = Routes.of(
        {
            name: Route(pool=PoolName(pool), model=ModelName(model))
            for name, (pool, model) in (routes or {}).items()
        }
    )
    return Observed(
        servers=servers, routes=made, listing=listing(made) if made else "", pools_per_kind=pools
    )


@pytest.fixture
def a_lease() -> Callable[..., ReplicaLease]:
    """Offer the maker of leases."""
    return make_lease


@pytest.fixture
def a_model() -> Callable[..., ModelSpec]:
    """Offer the maker of declarations."""
    return make_model


@pytest.fixture
def seen() -> Callable[..., ObservedServer]:
    """Offer the maker of observed servers."""
    return make_seen


@pytest.fixture
def an_edge() -> Callable[..., Observed]:
    """Offer the maker of edges."""
    return make_observed
