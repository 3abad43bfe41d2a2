"""Servers on unix sockets: no port, the same checks, the same life at runtime."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from libs.haproxy.client import HaproxyClient
from libs.haproxy.codec import Ok
from libs.haproxy.commands import (
    AddServer,
    AdminState,
    DelServer,
    EnableHealth,
    ServerRef,
    ServerSpec,
    SetServerState,
    ShowServersState,
)
from libs.haproxy.config import Balance, PoolConfig
from libs.haproxy.tables import ServerState, parse_servers_state
from libs.testing.eventually import eventually
from libs.testing.real_haproxy import RealHaproxy, edge_config, real_haproxy

REF = ServerRef(pool="lc0-py", name="r1.aa")


@asynccontextmanager
async def served_on(path: Path) -> AsyncIterator[None]:
    """Answer every request on a unix socket."""
    connected: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.add(writer)
        while head := await _read_head(reader):
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length or 0))
            who = b"x-sluice-replica: r1.aa\r\n"
            writer.write(b"HTTP/1.1 200 OK\r\n" + who + b"content-length: 2\r\n\r\n{}")
        writer.close()

    server = await asyncio.start_unix_server(serve, path)
    try:
        yield
    finally:
        server.close()
        for writer in connected:
            writer.close()


async def _read_head(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return b""


def spec(path: Path) -> ServerSpec:
    """Return a server on a unix socket."""
    return ServerSpec(name="r1.aa", number=101, address=f"unix@{path}", weight=16, maxconn=8)


@pytest.fixture
async def edge(folder: Path) -> AsyncIterator[RealHaproxy]:
    """Run HAProxy with an empty pool."""
    pools = (PoolConfig(name="lc0", balance=Balance.LEAST_LOADED),)
    config = edge_config(folder)
    async with real_haproxy(config, pools, routes=(("m", "lc0:m:python"),)) as running:
        yield running


@pytest.fixture
def admin(edge: RealHaproxy) -> HaproxyClient:
    """Offer HAProxy's admin socket."""
    return HaproxyClient(edge.config.admin_socket, timeout_s=5.0)


async def state_of(admin: HaproxyClient) -> ServerState:
    """Return what HAProxy knows of the server."""
    found = parse_servers_state(await admin.query(ShowServersState()))
    return next(state for state in found if state.pool == "lc0-py")


async def until_up(admin: HaproxyClient, *, up: bool) -> None:
    """Wait until checks say so."""

    async def seen() -> bool:
        return (await state_of(admin)).up is up

    await eventually(seen, what=f"a server that is {'up' if up else 'down'}")


async def join(admin: HaproxyClient, path: Path) -> None:
    """Add a server, as it is added to a running edge."""
    for command in (
        AddServer(pool="lc0-py", server=spec(path)),
        EnableHealth(ref=REF),
        SetServerState(ref=REF, state=AdminState.READY),
    ):
        assert await admin.execute(command) == Ok()


async def test_a_server_joins_serves_and_leaves_at_runtime(
    folder: Path, admin: HaproxyClient, http: httpx.AsyncClient
) -> None:
    """With every option of a server on a port."""
    async with served_on(folder / "r1.sock"):
        await join(admin, folder / "r1.sock")
        await until_up(admin, up=True)

        answers = [await http.post("/v1/completions", json={"model": "m"}) for _ in range(5)]
        state = await state_of(admin)
        await admin.execute(SetServerState(ref=REF, state=AdminState.MAINT))

        async def deleted() -> bool:
            return await admin.execute(DelServer(ref=REF)) == Ok()

        await eventually(deleted, what="a deleted server")

    assert [answer.status_code for answer in answers] == [200] * 5
    assert (state.host, state.port, state.admin) == (None, None, AdminState.READY)


async def test_a_server_whose_socket_is_gone_is_down_and_comes_back(
    folder: Path, admin: HaproxyClient, http: httpx.AsyncClient
) -> None:
    """Its checks see both."""
    path = folder / "r1.sock"
    async with served_on(path):
        await join(admin, path)
        await until_up(admin, up=True)

    await until_up(admin, up=False)
    refused = await http.post("/v1/completions", json={"model": "m"})
    async with served_on(path):
        await until_up(admin, up=True)
        answer = await http.post("/v1/completions", json={"model": "m"})

    assert (refused.status_code, answer.status_code) == (503, 200)


async def test_a_server_in_the_configuration_may_be_on_a_unix_socket(folder: Path) -> None:
    """A HAProxy that starts alone reads the same address, and its span line names the server."""
    pools = (
        PoolConfig(
            name="lc0", balance=Balance.LEAST_LOADED, python_servers=(spec(folder / "r1.sock"),)
        ),
    )
    config = edge_config(folder)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as listening:
        listening.bind(str(config.span_socket))
        async with (
            served_on(folder / "r1.sock"),
            real_haproxy(config, pools, routes=(("m", "lc0:m:python"),)),
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{config.port}") as http,
        ):
            answer = await http.post(
                "/v1/completions", json={"model": "m"}, headers={"x-request-id": "mine"}
            )
            async with asyncio.timeout(5):
                line = await asyncio.get_running_loop().sock_recv(listening, 16_384)

    said = json.loads(line)
    assert answer.status_code == 200
    assert (said["pool"], said["server"], said["request_id"]) == ("lc0-py", "r1.aa", "mine")
    assert said["front_ends"] == "python"
    assert (said["server_ip"], said["server_port"]) == ("unix", "0")
