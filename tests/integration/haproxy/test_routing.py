"""How requests reach replicas: by model, by prefix, with what headers, and how tokens come back."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from libs.testing.eventually import eventually
from libs.testing.fake_replica import FakeReplica, Script
from libs.testing.real_haproxy import RealHaproxy

CHAT = "/v1/chat/completions"
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.mark.parametrize("name", ["m", "default", "org/model"])
@pytest.mark.parametrize("path", [CHAT, "/v1/completions", "/v1/embeddings", "/tokenize"])
async def test_every_name_of_a_model_reaches_its_replica(
    http: httpx.AsyncClient, replica: FakeReplica, name: str, path: str
) -> None:
    """The replica is told which name HAProxy read."""
    answer = await http.post(path, json={"prompt": "hi", "model": name})

    assert answer.status_code == 200
    assert replica.seen[-1].headers["x-sluice-model"] == name


async def test_a_model_after_a_long_prompt_is_found(
    http: httpx.AsyncClient, replica: FakeReplica
) -> None:
    """Clients write their fields in any order."""
    answer = await http.post(CHAT, json={"prompt": "x" * 40_000, "model": "m"})

    assert answer.status_code == 200
    assert len(replica.seen[-1].body) > 40_000


@pytest.mark.parametrize("name", ["m", "default", "org/model", "org%2Fmodel"])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/embeddings"])
async def test_a_path_names_the_model_and_the_replica_sees_the_rest(
    http: httpx.AsyncClient, replica: FakeReplica, name: str, path: str
) -> None:
    """For clients that can only be given a base URL; the body may leave the model out."""
    answer = await http.post(f"/models/{name}{path}", json={"prompt": "hi"})

    assert answer.status_code == 200
    assert replica.seen[-1].path == path
    assert replica.seen[-1].headers["x-sluice-model"] == name.replace("%2F", "/")


async def test_a_path_counts_before_body_and_header(
    http: httpx.AsyncClient, replica: FakeReplica
) -> None:
    """The replica compares it with the body, and refuses a difference."""
    await http.post("/models/m/v1/completions", json={"model": "p"}, headers={"x-model": "empty"})

    assert replica.seen[-1].headers["x-sluice-model"] == "m"


async def test_a_header_names_the_model_of_a_body_without_one(
    http: httpx.AsyncClient, replica: FakeReplica
) -> None:
    """The replica puts it in."""
    answer = await http.post(CHAT, json={"prompt": "hi"}, headers={"x-model": "m"})

    assert answer.status_code == 200
    assert replica.seen[-1].headers["x-sluice-model"] == "m"


async def test_the_body_counts_before_the_header(
    http: httpx.AsyncClient, replica: FakeReplica
) -> None:
    """A header cannot send a request to another model's replica."""
    await http.post(CHAT, json={"model": "m"}, headers={"x-model": "p"})

    assert replica.seen[-1].headers["x-sluice-model"] == "m"


async def test_a_client_cannot_speak_for_the_edge(
    http: httpx.AsyncClient, replica: FakeReplica
) -> None:
    """What the replica trusts, only the edge can write."""
    forged = {"x-sluice-model": "p", "x-sluice-tenant": "boss"}

    await http.post(CHAT, json={"model": "m"}, headers=forged)

    seen = replica.seen[-1].headers
    assert seen["x-sluice-model"] == "m"
    assert "x-sluice-tenant" not in seen


async def test_tokens_arrive_one_by_one(http: httpx.AsyncClient, replica: FakeReplica) -> None:
    """Nothing on the way waits for more: they are here while the replica still makes others."""
    replica.script = Script(tokens=10_000, token_s=0.05)

    async with http.stream("POST", CHAT, json={"model": "m", "stream": True}) as answer:
        lines = (line async for line in answer.aiter_lines() if line)
        first = [await anext(lines) for _ in range(5)]
        active = replica.active
        replica.finishing = True
        rest = [line async for line in lines]

    assert active == 1
    assert all(f"t{number} " in line for number, line in enumerate(first))
    assert rest[-1] == "data: [DONE]"


async def test_a_replica_learns_at_once_that_its_client_left(
    http: httpx.AsyncClient, replica: FakeReplica
) -> None:
    """Even before the first token, so that the engine can stop."""
    replica.script = Script(first_token_s=30.0)
    asking = asyncio.create_task(http.post(CHAT, json={"model": "m", "stream": True}))

    async def active() -> bool:
        return replica.active == 1

    async def left() -> bool:
        return len(replica.left_at) == 1

    await eventually(active)
    asking.cancel()
    await eventually(left)

    assert replica.active == 0


async def test_a_conversation_stays_on_one_server(http: httpx.AsyncClient) -> None:
    """The same beginning of a body leads to the same cache."""
    prompt = "system prompt " * 200

    answers = [
        await http.post(CHAT, content=f'{{"model":"p","prompt":"{prompt}{turn}"}}'.encode())
        for turn in range(8)
    ]

    assert len({answer.headers["x-sluice-replica"] for answer in answers}) == 1


async def test_a_session_pins_whatever_its_bodies_say(http: httpx.AsyncClient) -> None:
    """Clients that know their session may say so; sessions spread over the servers."""
    served: dict[str, set[str]] = {}
    for session in (f"s{index}" for index in range(16)):
        for turn in range(2):
            answer = await http.post(
                CHAT, json={"turn": turn, "model": "p"}, headers={"x-session-id": session}
            )
            served.setdefault(session, set()).add(answer.headers["x-sluice-replica"])

    assert all(len(replicas) == 1 for replicas in served.values())
    assert len(set.union(*served.values())) == 2


async def test_a_clients_trace_goes_on(http: httpx.AsyncClient, replica: FakeReplica) -> None:
    """Same trace, same decision, a span of HAProxy's own between."""
    answer = await http.post(
        CHAT, json={"model": "m"}, headers={"traceparent": PARENT, "tracestate": "a=b"}
    )

    version, trace_id, span_id, flags = replica.seen[-1].headers["traceparent"].split("-")
    assert (version, trace_id, flags) == ("00", PARENT.split("-")[1], "01")
    assert span_id != PARENT.split("-")[2]
    assert replica.seen[-1].headers["tracestate"] == "a=b"
    assert answer.headers["x-sluice-trace-id"] == trace_id


@pytest.mark.parametrize(
    "parent",
    [
        "garbage",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    ],
)
async def test_a_bad_trace_context_is_replaced(
    http: httpx.AsyncClient, replica: FakeReplica, parent: str
) -> None:
    """A new trace begins, without the state of the old one."""
    await http.post(CHAT, json={"model": "m"}, headers={"traceparent": parent, "tracestate": "a=b"})

    headers = replica.seen[-1].headers
    _, trace_id, span_id, flags = headers["traceparent"].split("-")
    assert len(trace_id) == 32
    assert len(span_id) == 16
    assert trace_id not in parent
    assert (flags, headers.get("tracestate")) == ("01", None)


async def test_connections_to_a_replica_are_used_again(
    edge: RealHaproxy, http: httpx.AsyncClient, replica: FakeReplica
) -> None:
    """A request does not pay for a connection of its own."""
    for _ in range(20):
        await http.post(CHAT, json={"model": "m"})

    assert replica.completed == 20
    assert replica.connections_count < 10
