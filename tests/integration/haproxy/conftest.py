"""A real HAProxy with two models in front of fake replicas; no bus, no router-config."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from libs.haproxy.commands import ServerSpec
from libs.haproxy.config import Balance, EdgeConfig, PoolConfig
from libs.testing.fake_replica import FakeReplica, fake_replica
from libs.testing.real_haproxy import (
    RealHaproxy,
    edge_config,
    real_body_reader,
    real_haproxy,
    short_folder,
)

ROUTES = (
    ("m", "lc0:m:python"),
    ("default", "lc0:m:python"),
    ("org/model", "lc0:m:python"),
    ("empty", "lc1:empty:python"),
    ("p", "px0:p:python"),
)


@pytest.fixture
def folder() -> Iterator[Path]:
    """Offer a folder whose path is short enough for sockets."""
    with short_folder() as made:
        yield made


@pytest.fixture
async def replica() -> AsyncIterator[FakeReplica]:
    """Run the first replica of model `m`, which takes two requests at once."""
    async with fake_replica("r1") as running:
        yield running


@pytest.fixture
async def second() -> AsyncIterator[FakeReplica]:
    """Run another replica."""
    async with fake_replica("r2") as running:
        yield running


@pytest.fixture
def config(folder: Path) -> EdgeConfig:
    """Return the edge's settings; a file of tests may have its own."""
    return replace(
        edge_config(folder),
        queue_timeout_s=1,
        body_bytes_max=1_000_000,
    )


@pytest.fixture
async def edge(
    config: EdgeConfig, replica: FakeReplica, second: FakeReplica
) -> AsyncIterator[RealHaproxy]:
    """Run HAProxy: `m` has one replica, `p` has both, `empty` has none."""
    one, two = (
        ServerSpec(
            name=f"{each.name}.aa",
            number=number,
            address=str(each.endpoint),
            weight=16,
            maxconn=2,
        )
        for number, each in ((101, replica), (102, second))
    )
    pools = (
        PoolConfig(name="lc0", balance=Balance.LEAST_LOADED, python_servers=(one,)),
        PoolConfig(name="lc1", balance=Balance.LEAST_LOADED),
        PoolConfig(name="px0", balance=Balance.PREFIX, python_servers=(one, two)),
    )
    async with real_haproxy(config, pools, routes=ROUTES) as running:
        yield running


@pytest.fixture
async def reader(edge: RealHaproxy) -> AsyncIterator[RealHaproxy]:
    """Run the body reader of the edge."""
    async with real_body_reader(edge.config) as running:
        yield running


@pytest.fixture
async def http(edge: RealHaproxy) -> AsyncIterator[httpx.AsyncClient]:
    """Offer a client of the edge."""
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{edge.config.port}", timeout=20
    ) as client:
        yield client
