"""The suite's subjects: the fake, and a real HAProxy with two kinds of pools."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from libs.haproxy.client import HaproxyClient
from libs.haproxy.config import Balance, EdgeConfig, PoolConfig
from libs.haproxy.hold import HoldLimits
from libs.testing.fake_haproxy import fake_haproxy
from libs.testing.free_port import free_port
from libs.testing.real_haproxy import real_haproxy, short_folder

POOLS = (
    PoolConfig(name="lc0", balance=Balance.LEAST_LOADED),
    PoolConfig(name="lc1", balance=Balance.LEAST_LOADED),
    PoolConfig(name="px0", balance=Balance.PREFIX),
)


@pytest.fixture
def folder() -> Iterator[Path]:
    """Offer a folder whose path is short enough for sockets."""
    with short_folder() as made:
        yield made


@pytest.fixture(params=["fake", "haproxy"])
async def haproxy(request: pytest.FixtureRequest, folder: Path) -> AsyncIterator[HaproxyClient]:
    """Offer a client of the fake first, then of the real one."""
    socket = folder / "admin.sock"
    client = HaproxyClient(socket, timeout_s=5.0)
    if request.param == "fake":
        async with fake_haproxy(socket):
            yield client
        return
    config = EdgeConfig(
        admin_socket=socket,
        span_socket=folder / "span.sock",
        host="127.0.0.1",
        port=free_port(),
        stats_port=None,
        holds=HoldLimits(timeout_s=1, pool_max=1, all_max=1, large_max=0),
    )
    async with real_haproxy(config, POOLS):
        yield client
