"""Observed servers and edges with sensible values."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from libs.contracts.ids import ModelName
from libs.contracts.lease import Endpoint
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


def make_seen(
    name: str = "r1.aa",
    *,
    pool: str = "lc0",
    admin: Admin = Admin.READY,
    health: Health = Health.UP,
) -> ObservedServer:
    """Return a server as HAProxy shows it."""
    return ObservedServer(
        server=Server(
            key=ServerKey(pool=PoolName(pool), name=ServerName(name)),
            number=stable_number(name.rpartition(".")[0]),
            endpoint=Endpoint(host="127.0.0.1", port=8000),
            maxconn=64,
        ),
        admin=admin,
        health=health,
        checked=True,
        sessions=0,
        queued=0,
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
def seen() -> Callable[..., ObservedServer]:
    """Offer the maker of observed servers."""
    return make_seen


@pytest.fixture
def an_edge() -> Callable[..., Observed]:
    """Offer the maker of edges."""
    return make_observed
