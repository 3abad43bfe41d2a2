"""Headers that vLLM trusts come from the edge alone; every answer has an id."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from libs.contracts.tenant import key_hash
from libs.haproxy.commands import ServerSpec
from libs.haproxy.config import ACCESS_KEY, ACCESS_OPEN, Balance, EdgeConfig, PoolConfig
from libs.testing.fake_replica import FakeReplica
from libs.testing.real_haproxy import (
    RealHaproxy,
    edge_config,
    real_body_reader,
    real_haproxy,
)

CHAT = "/v1/chat/completions"
TRACE = "0af7651916cd43dd8448eb211c80319c"
TRACED = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
GRANTS = (
    (ACCESS_KEY, ACCESS_OPEN),
    (key_hash("sk-gold"), "gold:0:0:-5"),
    (key_hash("sk-lead"), "lead:0:0:7"),
)
ENGINE_ID = re.compile(r"[0-9a-f]{32}-[0-9a-f]{16}-01")
SALT = re.compile(r"-t[0-9a-f]{32}$")
EDGE_ID = re.compile(r"[0-9A-F]{16}-[0-9A-F]{16}")


@pytest.fixture
def config(folder: Path) -> EdgeConfig:
    """Trace only what a client traces."""
    return replace(edge_config(folder), trace_ratio=0.0)


@pytest.fixture
async def edge(config: EdgeConfig, replica: FakeReplica) -> AsyncIterator[RealHaproxy]:
    """Run HAProxy before one replica; two tenants have priorities."""
    server = ServerSpec(
        name="r1.aa", number=101, address=str(replica.endpoint), weight=16, maxconn=8
    )
    pool = PoolConfig(name="px0", balance=Balance.PREFIX, python_servers=(server,))
    routes = (("m", "px0:m:python"),)
    async with real_haproxy(config, (pool,), routes=routes, tenants=GRANTS) as running:
        yield running


async def ask(
    http: httpx.AsyncClient, headers: dict[str, str] | None = None, *, text: str = "x"
) -> httpx.Response:
    """Send one request."""
    return await http.post(CHAT, json={"model": "m", "text": text}, headers=headers)


async def test_a_replica_sees_no_client_s_id_priority_rank_or_session(
    http: httpx.AsyncClient, replica: FakeReplica
) -> None:
    """An id would become the engine's, a priority would pass others, a rank choose a replica.

    The edge says id and priority itself: where they are missing vLLM takes the body's.
    """
    gone = ("X-data-parallel-rank", "X-Session-ID", "endpoint-load-metrics-format")
    replaced = ("X-Request-Id", "X-Vllm-Priority")

    answer = await ask(http, dict.fromkeys((*gone, *replaced), "1"))

    assert answer.status_code == 200
    seen = replica.seen[-1].headers
    assert not {name.lower() for name in gone} & seen.keys()
    assert EDGE_ID.fullmatch(seen["x-request-id"])
    assert seen["x-vllm-priority"] == "0"
    assert "x-sluice-model" in seen


async def test_a_traced_request_gives_the_engine_its_trace_and_span(
    http: httpx.AsyncClient, replica: FakeReplica
) -> None:
    """The id holds what `traceparent` says; that of an untraced request looks like no trace."""
    await ask(http, TRACED | {"x-request-id": "mine"})
    await ask(http, {"x-request-id": "mine"})

    traced, untraced = (seen.headers for seen in replica.seen)
    _, trace_id, span_id, _ = traced["traceparent"].split("-")
    assert traced["x-request-id"] == f"{TRACE}-{span_id}-01"
    assert trace_id == TRACE
    assert EDGE_ID.fullmatch(untraced["x-request-id"])


async def test_the_engine_can_tell_tenants_apart_and_no_client_can_say_who_it_is(
    http: httpx.AsyncClient, replica: FakeReplica
) -> None:
    """By the end of the id, traced or not; the engine core salts its prefix cache with it."""
    mine = {"x-request-id": f"mine-t{'1' * 32}"}
    for key in ("sk-gold", "sk-gold", "sk-lead", ""):
        await ask(http, mine | ({"authorization": f"Bearer {key}"} if key else {}))
        await ask(http, mine | TRACED | ({"x-api-key": key} if key else {}))

    ids = [seen.headers["x-request-id"] for seen in replica.seen]
    salts = [SALT.search(each) for each in ids]
    found = [salt and salt[0] for salt in salts]
    assert found[0] == f"-t{hashlib.sha256(b'gold').hexdigest()[:32]}"
    assert len(set(found[:4])) == len(set(found[4:6])) == 1
    assert found[0] != found[4]
    assert found[6:] == [None, None]
    assert all(re.search(r"-[0-9a-f]{16}-01-t", each) for each in ids[1:6:2])


async def test_tenants_may_share_the_prefix_cache(config: EdgeConfig, replica: FakeReplica) -> None:
    """Where they trust one another."""
    server = ServerSpec(
        name="r1.aa", number=101, address=str(replica.endpoint), weight=1, maxconn=8
    )
    pool = PoolConfig(name="lc0", balance=Balance.LEAST_LOADED, python_servers=(server,))
    shared = replace(config, prefix_cache_by_tenant=False)
    routes = (("m", "lc0:m:python"),)
    async with (
        real_haproxy(shared, (pool,), routes=routes, tenants=GRANTS),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{config.port}", trust_env=False) as http,
    ):
        await ask(http, {"x-api-key": "sk-gold"})

    assert EDGE_ID.fullmatch(replica.seen[-1].headers["x-request-id"])


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("path", [CHAT, "/health", "/v1/models", "/nowhere"])
async def test_every_answer_has_the_client_s_id(
    http: httpx.AsyncClient, method: str, path: str
) -> None:
    """The edge's own answers and errors too."""
    answer = await http.request(method, path, json={}, headers={"x-request-id": "a-B.1:2_3"})

    assert answer.headers.get_list("x-request-id") == ["a-B.1:2_3"]


@pytest.mark.parametrize("sent", ["", "a" * 129, "a b", 'a"b', "a,b", "<a>", "é"])
async def test_an_id_that_is_long_or_not_plain_is_replaced(
    http: httpx.AsyncClient, sent: str
) -> None:
    """It would go into logs and spans as it is."""
    ids = [
        (await ask(http, {"x-request-id": sent.encode()})).headers["x-request-id"]  # type: ignore[dict-item]
        for _ in range(2)
    ]

    assert all(EDGE_ID.fullmatch(each) for each in ids)
    assert ids[0] != ids[1]


async def test_without_an_id_the_edge_gives_its_own(http: httpx.AsyncClient) -> None:
    """That of the trace, where there is one: so a client can name what it complains about."""
    traced, untraced = await ask(http, TRACED), await ask(http)
    refused = await http.post(CHAT, json={"model": "none"})

    assert ENGINE_ID.fullmatch(traced.headers["x-request-id"])
    assert traced.headers["x-request-id"].startswith(TRACE)
    assert EDGE_ID.fullmatch(untraced.headers["x-request-id"])
    assert refused.status_code == 404
    assert EDGE_ID.fullmatch(refused.headers["x-request-id"])


@pytest.mark.parametrize(("key", "priority"), [("sk-gold", "-5"), ("sk-lead", "7"), (None, "0")])
async def test_a_request_has_its_tenant_s_priority(
    edge: RealHaproxy,
    http: httpx.AsyncClient,
    replica: FakeReplica,
    key: str | None,
    priority: str,
) -> None:
    """Lower is sooner for HAProxy and for vLLM; without a tenant it is 0."""
    headers = {"x-vllm-priority": "-100"} | ({"authorization": f"Bearer {key}"} if key else {})

    async with real_body_reader(edge.config):
        answers = [await ask(http, headers, text="x" * size) for size in (1, 300_000)]

    assert [answer.status_code for answer in answers] == [200] * 2
    assert [seen.headers.get("x-vllm-priority") for seen in replica.seen] == [priority] * 2


async def test_a_large_body_keeps_ids_and_session(
    edge: RealHaproxy, http: httpx.AsyncClient, replica: FakeReplica
) -> None:
    """The way through the body reader changes nothing."""
    headers = TRACED | {"x-request-id": "mine", "x-session-id": "s"}

    async with real_body_reader(edge.config):
        answer = await ask(http, headers, text="x" * 300_000)

    seen = replica.seen[-1].headers
    assert answer.headers.get_list("x-request-id") == ["mine"]
    assert ENGINE_ID.fullmatch(seen["x-request-id"])
    assert "x-session-id" not in seen


async def test_an_answer_says_which_server_gave_it(http: httpx.AsyncClient) -> None:
    """A front end that does not know its own name is named by the edge."""
    answer = await ask(http)

    assert answer.headers.get_list("x-sluice-replica")[0]
    assert len(answer.headers.get_list("x-sluice-replica")) == 1


async def test_the_span_log_keeps_the_longest_plain_id(
    folder: Path, http: httpx.AsyncClient
) -> None:
    """With a path and a model of any length the line stays within what HAProxy writes."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as listening:
        listening.bind(str(folder / "span.sock"))
        await ask(http, TRACED | {"x-request-id": "a" * 128})
        async with asyncio.timeout(5):
            line = await asyncio.get_running_loop().sock_recv(listening, 16_384)

    assert len(line) < 1024
    assert json.loads(line)["request_id"] == "a" * 128


async def test_a_session_stays_on_one_server_although_no_replica_sees_it(
    config: EdgeConfig, replica: FakeReplica, second: FakeReplica
) -> None:
    """Its value is the key of a prefix pool, whatever the prompts."""
    servers = tuple(
        ServerSpec(
            name=f"{each.name}.aa", number=number, address=str(each.endpoint), weight=64, maxconn=8
        )
        for number, each in ((101, replica), (202, second))
    )
    pool = PoolConfig(name="px0", balance=Balance.PREFIX, python_servers=servers)
    async with (
        real_haproxy(config, (pool,), routes=(("m", "px0:m:python"),)),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{config.port}") as http,
    ):
        sessions = [
            {
                (await ask(http, {"x-session-id": f"s{number}"}, text=f"{turn}")).headers[
                    "x-sluice-replica"
                ]
                for turn in range(4)
            }
            for number in range(8)
        ]

    assert all(len(served_by) == 1 for served_by in sessions)
    assert set.union(*sessions) == {"r1", "r2"}
    assert not any("x-session-id" in seen.headers for seen in (*replica.seen, *second.seen))
