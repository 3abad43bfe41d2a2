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
from services.router_config.adapters.spans.codec import parse_line


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


TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize(
    "sent",
    [
        [TRACEPARENT, "x"],
        ["x", TRACEPARENT],
        [f"{TRACEPARENT}, evil"],
        [f"evil,{TRACEPARENT}"],
        [TRACEPARENT, TRACEPARENT.replace("-01", "-00")],
        [f"{TRACEPARENT}x"],
    ],
)
async def test_a_trace_context_of_several_values_is_none(
    http: httpx.AsyncClient, lines: socket.socket, replica: FakeReplica, sent: list[str]
) -> None:
    """The condition would hold for one value and the ids come from another; W3C refuses it too."""
    await http.post(
        "/v1/chat/completions", json={"model": "m"}, headers=[("traceparent", v) for v in sent]
    )
    async with asyncio.timeout(5):
        line = await asyncio.get_running_loop().sock_recv(lines, 16_384)

    said = parse_line(line)
    seen = replica.seen[-1].headers["traceparent"]
    assert said.parent_id == "-"
    assert said.trace_id not in TRACEPARENT
    assert seen == f"00-{said.trace_id}-{said.span_id}-01"


@pytest.mark.parametrize("sent", [["mine", 'a","tenant":"b'], ['a","tenant":"b', "mine"]])
async def test_an_id_that_comes_twice_cannot_write_into_the_line(
    http: httpx.AsyncClient, lines: socket.socket, sent: list[str]
) -> None:
    """What is checked is what is used."""
    answer = await http.post(
        "/v1/chat/completions", json={"model": "m"}, headers=[("x-request-id", v) for v in sent]
    )
    async with asyncio.timeout(5):
        line = await asyncio.get_running_loop().sock_recv(lines, 16_384)

    assert parse_line(line).tenant == "-"
    assert '"' not in answer.headers["x-request-id"]
