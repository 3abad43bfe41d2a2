"""Connections: how many, from where, and how long they stay, before a key was right and after."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from libs.contracts.tenant import key_hash
from libs.haproxy.commands import ServerSpec
from libs.haproxy.config import (
    ACCESS_KEY,
    ACCESS_KEYS_ONLY,
    WHOLE_BODY_BYTES,
    Balance,
    EdgeConfig,
    PoolConfig,
)
from libs.testing.eventually import eventually
from libs.testing.fake_replica import FakeReplica
from libs.testing.real_haproxy import RealHaproxy, edge_config, real_body_reader, real_haproxy

KEY = {"authorization": "Bearer sk-a"}
GRANTS = ((ACCESS_KEY, ACCESS_KEYS_ONLY), (key_hash("sk-a"), "acme:0:0:0"))
CONNECTIONS_MAX = 12
PER_ADDRESS_MAX = 5


@pytest.fixture
def config(folder: Path) -> EdgeConfig:
    """Return limits that a test can reach."""
    return replace(
        edge_config(folder),
        connections_max=CONNECTIONS_MAX,
        connections_per_address_max=0,
        request_timeout_s=30,
    )


@asynccontextmanager
async def running(config: EdgeConfig, replica: FakeReplica) -> AsyncIterator[RealHaproxy]:
    """Run HAProxy and its body reader before one replica; every request needs a key."""
    server = ServerSpec(
        name="r1.aa", number=101, address=str(replica.endpoint), weight=16, maxconn=8
    )
    pool = PoolConfig(name="lc0", balance=Balance.LEAST_LOADED, python_servers=(server,))
    routes = (("m", "lc0:m:python"),)
    async with (
        real_haproxy(config, (pool,), routes=routes, tenants=GRANTS) as edge,
        real_body_reader(config),
    ):
        yield edge


def client(config: EdgeConfig) -> httpx.AsyncClient:
    """Return a client with one connection."""
    limits = httpx.Limits(max_connections=1)
    return httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{config.port}", timeout=20, limits=limits, trust_env=False
    )


async def is_kept(stack: AsyncExitStack, config: EdgeConfig) -> bool:
    """Open a connection that says nothing, and tell whether it stays; it ends with the stack."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", config.port)
        stack.callback(writer.close)
        async with asyncio.timeout(0.2):
            return await reader.read(1) != b""
    except TimeoutError:
        return True
    except ConnectionError:
        return False


async def kept(config: EdgeConfig, count: int) -> list[bool]:
    """Open several connections, one after the other, and tell which stay; then end them."""
    async with AsyncExitStack() as stack:
        return [await is_kept(stack, config) for _ in range(count)]


async def test_connections_without_a_key_leave_room_for_a_tenant_s_large_body(
    config: EdgeConfig, replica: FakeReplica
) -> None:
    """It needs connections of the edge's own, which no client can take."""
    body = {"model": "m", "prompt": "x" * (2 * WHOLE_BODY_BYTES)}

    async with running(config, replica), AsyncExitStack() as stack:
        for _ in range(CONNECTIONS_MAX - 1):
            await is_kept(stack, config)
        http = await stack.enter_async_context(client(config))
        answer = await http.post("/v1/chat/completions", json=body, headers=KEY)

    assert answer.status_code == 200


async def test_one_address_has_few_connections_until_a_key_was_right(
    config: EdgeConfig, replica: FakeReplica
) -> None:
    """Then it may be a load balancer's, with many clients behind it."""
    config = replace(config, connections_max=100, connections_per_address_max=PER_ADDRESS_MAX)

    async def has_room() -> bool:
        return (await kept(config, 1))[0]

    async with running(config, replica):
        before = await kept(config, 2 * PER_ADDRESS_MAX)
        await eventually(has_room, what="room for another connection")
        async with client(config) as http:
            refused = await http.post("/v1/chat/completions", json={"model": "m"})
            answer = await http.post("/v1/chat/completions", json={"model": "m"}, headers=KEY)
        after = await kept(config, 2 * PER_ADDRESS_MAX)

    assert before == [True] * PER_ADDRESS_MAX + [False] * PER_ADDRESS_MAX
    assert (refused.status_code, answer.status_code) == (401, 200)
    assert after == [True] * 2 * PER_ADDRESS_MAX


@pytest.mark.parametrize(
    ("path", "headers", "expected"),
    [
        ("/v1/models", {}, (401, "close")),
        ("/v1/models", {"authorization": "Bearer sk-b"}, (401, "close")),
        ("/health", {}, (200, "close")),
        ("/v1/models", KEY, (200, None)),
    ],
)
async def test_a_connection_stays_where_a_request_on_it_was_let_in(
    config: EdgeConfig,
    replica: FakeReplica,
    path: str,
    headers: dict[str, str],
    expected: tuple[int, str | None],
) -> None:
    """An answer without a key ends it."""
    async with running(config, replica), client(config) as http:
        answer = await http.get(path, headers=headers)

    assert (answer.status_code, answer.headers.get("connection")) == expected
