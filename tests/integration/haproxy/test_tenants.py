"""Who may ask, how much and before whom: a real HAProxy with the map that router-config writes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from libs.contracts.tenant import key_hash
from libs.haproxy.client import HaproxyClient
from libs.haproxy.codec import Ok
from libs.haproxy.commands import ServerSpec, ShowStat
from libs.haproxy.config import Balance, PoolConfig
from libs.haproxy.tables import parse_stat
from libs.testing.eventually import eventually
from libs.testing.fake_replica import FakeReplica, Script
from libs.testing.real_haproxy import RealHaproxy, edge_config, real_haproxy

CHAT = "/v1/chat/completions"
KEYS_ONLY = ("access", "keys")
GRANTS = {
    "acme": "acme:0:0:0",
    "gold": "gold:0:0:-1",
    "batch": "batch:0:0:1",
    "three": "three:3:0:0",
    "pair": "pair:0:2:0",
}
"""Each tenant's key is its name with `sk-` before it."""


Entries = tuple[tuple[str, str], ...]


def tenants(**changes: str) -> Entries:
    """Return the map, with other grants for some."""
    grants = GRANTS | changes
    return (KEYS_ONLY, *((key_hash(f"sk-{name}"), grants[name]) for name in grants))


def as_(name: str) -> dict[str, str]:
    """Return the headers of a tenant's request."""
    return {"authorization": f"Bearer sk-{name}"}


@pytest.fixture
async def edge(folder: Path, replica: FakeReplica) -> AsyncIterator[RealHaproxy]:
    """Run HAProxy with tenants; `m` has one replica, `one` has it too, one request at a time."""
    config = replace(
        edge_config(folder),
        queue_timeout_s=2,
    )
    pools = tuple(
        PoolConfig(
            name=name,
            balance=balance,
            python_servers=(
                ServerSpec(
                    name="r1.aa",
                    number=101,
                    address=str(replica.endpoint),
                    weight=16,
                    maxconn=maxconn,
                ),
            ),
        )
        for name, balance, maxconn in (
            ("lc0", Balance.LEAST_LOADED, 16),
            ("lc1", Balance.LEAST_LOADED, 1),
            ("px0", Balance.PREFIX, 1),
        )
    )
    routes = (("m", "lc0:m:python"), ("one", "lc1:one:python"), ("p", "px0:p:python"))
    async with real_haproxy(config, pools, routes=routes, tenants=tenants()) as running:
        yield running


def error_of(answer: httpx.Response) -> dict[str, str | None]:
    """Return the error in OpenAI's shape; fail if it has another."""
    error: dict[str, str | None] = answer.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    return error


async def admit(edge: RealHaproxy, entries: Entries) -> None:
    """Replace the map of tenants."""
    client = HaproxyClient(edge.config.admin_socket, timeout_s=5)
    assert isinstance(await client.replace_map("tenants.map", entries), Ok)


async def ask(http: httpx.AsyncClient, tenant: str, model: str = "m") -> httpx.Response:
    """Send one request with a tenant's key."""
    return await http.post(CHAT, json={"model": model, "who": tenant}, headers=as_(tenant))


async def until_active(replica: FakeReplica, count: int) -> None:
    """Wait until the replica answers this many requests at once."""

    async def active() -> bool:
        return replica.active == count

    await eventually(active, what=f"{count} requests under way")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer sk-nobody"},
        {"authorization": "Bearer"},
        {"authorization": "sk-acme,"},
        {"authorization": "Basic sk-acme"},
        {"x-api-key": "sk-nobody"},
        {"x-sluice-tenant": "acme"},
    ],
)
async def test_without_a_valid_key_nobody_gets_past_the_edge(
    http: httpx.AsyncClient, replica: FakeReplica, headers: dict[str, str]
) -> None:
    """Neither to a replica nor to the names of the models."""
    answers = [
        await http.post(CHAT, json={"model": "m"}, headers=headers),
        await http.post(f"/models/m{CHAT}", json={"model": "m"}, headers=headers),
        await http.get("/v1/models", headers=headers),
        await http.get("/v1/models/m", headers=headers),
        await http.get("/nowhere", headers=headers),
    ]

    assert [answer.status_code for answer in answers] == [401] * len(answers)
    assert {error_of(answer)["code"] for answer in answers} == {"invalid_api_key"}
    assert answers[0].headers["www-authenticate"] == "Bearer"
    assert replica.seen == []


async def test_health_needs_no_key(http: httpx.AsyncClient) -> None:
    """Whoever watches the edge is no tenant."""
    assert (await http.get("/health")).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer sk-acme"},
        {"authorization": "bearer  sk-acme"},
        {"x-api-key": "sk-acme"},
        {"authorization": "Bearer sk-nobody", "x-api-key": "sk-acme"},
    ],
)
async def test_a_replica_learns_the_tenant_and_never_the_key(
    http: httpx.AsyncClient, replica: FakeReplica, headers: dict[str, str]
) -> None:
    """OpenAI's header and Anthropic's both work; no client can speak for another tenant."""
    forged = {"x-sluice-tenant": "gold", **headers}

    answer = await http.post(CHAT, json={"model": "m"}, headers=forged)

    seen = replica.seen[-1].headers
    assert answer.status_code == 200
    assert seen["x-sluice-tenant"] == "acme"
    assert not {"authorization", "x-api-key"} & seen.keys()
    assert "sk-acme" not in "".join(seen.values())
    assert (await http.get("/v1/models/m", headers=headers)).status_code == 200


async def test_without_tenants_everybody_may_ask(
    edge: RealHaproxy, http: httpx.AsyncClient, replica: FakeReplica
) -> None:
    """A key that somebody sends all the same stays at the edge."""
    await admit(edge, (("access", "open"),))

    answers = [await http.post(CHAT, json={"model": "m"}), await ask(http, "acme")]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert not {"authorization", "x-sluice-tenant"} & replica.seen[-1].headers.keys()


@pytest.mark.parametrize("entries", [(), (("access", "yes"),)])
async def test_while_nobody_knows_who_may_ask_nobody_may(
    edge: RealHaproxy, http: httpx.AsyncClient, replica: FakeReplica, entries: Entries
) -> None:
    """An empty map is no permission."""
    await admit(edge, entries)

    answer = await ask(http, "acme")

    assert answer.status_code in (401, 503)
    assert answer.status_code == 401 or int(answer.headers["retry-after"]) >= 1
    assert replica.seen == []


async def test_a_revoked_key_counts_no_more_and_others_do_not_notice(
    edge: RealHaproxy, http: httpx.AsyncClient, replica: FakeReplica
) -> None:
    """At once, without a reload; what is under way ends as it would have."""
    replica.script = Script(first_token_s=0.5)
    running = asyncio.create_task(ask(http, "acme"))
    await until_active(replica, 1)

    await admit(edge, tuple(entry for entry in tenants() if "acme:" not in entry[1]))

    assert (await ask(http, "acme")).status_code == 401
    assert (await ask(http, "gold")).status_code == 200
    assert (await running).status_code == 200


async def test_requests_beyond_a_minutes_limit_are_refused(
    edge: RealHaproxy, http: httpx.AsyncClient
) -> None:
    """Another tenant does not notice, listing models is free, and a raised limit counts at once."""
    served = [await ask(http, "three") for _ in range(3)]
    refused = await ask(http, "three")
    other = await ask(http, "acme")
    listed = await http.get("/v1/models/m", headers=as_("three"))
    await admit(edge, tenants(three="three:5:0:0"))
    after = [await ask(http, "three") for _ in range(3)]

    assert [answer.status_code for answer in served] == [200] * 3
    assert (refused.status_code, error_of(refused)["code"]) == (429, "rate_limit_exceeded")
    assert refused.headers["retry-after"] == "20"
    assert "`three` has sent 3 requests" in str(error_of(refused)["message"])
    assert (other.status_code, listed.status_code) == (200, 200)
    assert [answer.status_code for answer in after] == [200, 200, 429]


async def test_requests_beyond_what_runs_at_once_are_refused(
    edge: RealHaproxy, http: httpx.AsyncClient, replica: FakeReplica
) -> None:
    """Until one has ended, or the limit is raised; another tenant does not notice."""
    replica.script = Script(first_token_s=1.0)
    running = [asyncio.create_task(ask(http, "pair")) for _ in range(2)]
    await until_active(replica, 2)

    refused, other = await ask(http, "pair"), asyncio.create_task(ask(http, "acme"))
    await admit(edge, tenants(pair="pair:0:3:0"))
    raised = asyncio.create_task(ask(http, "pair"))
    await until_active(replica, 4)
    again = await ask(http, "pair")

    assert (refused.status_code, error_of(refused)["code"]) == (429, "concurrency_limit_exceeded")
    assert (again.status_code, error_of(again)["code"]) == (429, "concurrency_limit_exceeded")
    assert int(refused.headers["retry-after"]) >= 1
    answers = await asyncio.gather(*running, other, raised)
    assert [answer.status_code for answer in answers] == [200] * 4
    assert (await ask(http, "pair")).status_code == 200


async def test_a_client_that_leaves_makes_room_for_its_tenants_next_request(
    http: httpx.AsyncClient, replica: FakeReplica
) -> None:
    """What runs at once is what runs, not what was begun."""
    replica.script = Script(first_token_s=30.0)
    leaving = [asyncio.create_task(ask(http, "pair")) for _ in range(2)]
    await until_active(replica, 2)
    for task in leaving:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    await until_active(replica, 0)
    replica.script = Script()

    assert (await ask(http, "pair")).status_code == 200


@pytest.mark.parametrize("model", ["one", "p"])
async def test_a_queue_serves_high_before_normal_before_low(
    edge: RealHaproxy, http: httpx.AsyncClient, replica: FakeReplica, model: str
) -> None:
    """Whoever came first; in pools of either kind."""
    replica.script = Script(first_token_s=0.25)
    waiting = [asyncio.create_task(ask(http, "acme", model))]
    await until_active(replica, 1)
    for place, tenant in enumerate(("batch", "batch", "acme", "gold"), start=1):
        waiting.append(asyncio.create_task(ask(http, tenant, model)))
        await _until_queued(edge, place)

    answers = await asyncio.gather(*waiting)

    assert [answer.status_code for answer in answers] == [200] * 5
    order = [seen.headers["x-sluice-tenant"] for seen in replica.seen]
    assert order == ["acme", "gold", "acme", "batch", "batch"]


async def test_whoever_waits_too_long_is_told_to_come_back(
    http: httpx.AsyncClient, replica: FakeReplica
) -> None:
    """Priority decides who waits, the queue's time limit for how long."""
    replica.script = Script(first_token_s=2.5)
    running = asyncio.create_task(ask(http, "gold", "one"))
    await until_active(replica, 1)

    answer = await ask(http, "batch", "one")

    assert (answer.status_code, error_of(answer)["code"]) == (503, "no_replica_available")
    assert int(answer.headers["retry-after"]) >= 1
    assert (await running).status_code == 200


async def _until_queued(edge: RealHaproxy, count: int) -> None:
    client = HaproxyClient(edge.config.admin_socket, timeout_s=5)

    async def queued() -> bool:
        stats = parse_stat(await client.query(ShowStat()))
        return sum(stat.queued for stat in stats) == count

    await eventually(queued, what=f"{count} requests in the queue")
