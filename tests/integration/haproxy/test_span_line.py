"""What the span log says of a request, beside what the span's own tests cover."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from libs.haproxy.commands import ServerSpec
from libs.haproxy.config import Balance, PoolConfig
from libs.testing.fake_replica import FakeReplica
from libs.testing.real_haproxy import RealHaproxy, edge_config, real_haproxy


@pytest.fixture
def lines(folder: Path) -> socket.socket:
    """Listen where HAProxy writes."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    listening.bind(str(folder / "span.sock"))
    return listening


@pytest.fixture
async def edge(
    folder: Path, lines: socket.socket, replica: FakeReplica, second: FakeReplica
) -> AsyncIterator[RealHaproxy]:
    """Run HAProxy before a replica's two front ends."""
    main, twin = (
        ServerSpec(name="r.aa", number=101, address=str(each.endpoint), weight=16, maxconn=8)
        for each in (replica, second)
    )
    pool = PoolConfig(
        name="lc0", balance=Balance.LEAST_LOADED, servers=(main,), python_servers=(twin,)
    )
    with lines:
        async with real_haproxy(
            edge_config(folder), (pool,), routes=(("m", "lc0:m:split"),)
        ) as running:
            yield running


@pytest.mark.parametrize(("count", "pool"), [(1, "lc0"), (2, "lc0-py")])
async def test_a_line_tells_the_front_end_and_the_client_s_id(
    http: httpx.AsyncClient, lines: socket.socket, count: int, pool: str
) -> None:
    """Of the longest id too, the line stays far below what HAProxy writes at most, 8 kB."""
    await http.post(
        "/v1/chat/completions",
        json={"model": "m", "n": count},
        headers={"x-request-id": "a" * 128},
    )
    async with asyncio.timeout(5):
        line = await asyncio.get_running_loop().sock_recv(lines, 16_384)

    said = json.loads(line)
    assert len(line) < 1024
    assert (said["pool"], said["front_ends"], said["request_id"]) == (pool, "split", "a" * 128)
