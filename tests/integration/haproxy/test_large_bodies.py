"""Bodies that do not fit HAProxy's buffer: they pass through the body reader, a second HAProxy."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from libs.haproxy.body_reader import render_reader
from libs.haproxy.config import EdgeConfig
from libs.testing.eventually import eventually
from libs.testing.fake_replica import FakeReplica, Script
from libs.testing.real_haproxy import RealHaproxy, edge_config

CHAT = "/v1/chat/completions"
BODY_BYTES_MAX = 8 * 1024 * 1024


@pytest.fixture
def config(folder: Path) -> EdgeConfig:
    """Take bodies of 8 MiB, two at once, and be impatient."""
    return replace(
        edge_config(folder),
        queue_timeout_s=3,
        body_timeout_s=2,
        large_bodies_max=2,
        huge_bodies_max=1,
    )


def body_of(size: int, model: str = "m") -> bytes:
    """Return a JSON object of this many bytes whose last key is the model."""
    frame = len(json.dumps({"prompt": "", "model": model}))
    return json.dumps({"prompt": "x" * (size - frame), "model": model}).encode()


@pytest.mark.parametrize("size", [47_000, 48_000, 66_000, 1_000_000, 1_100_000, BODY_BYTES_MAX])
@pytest.mark.usefixtures("reader")
async def test_a_model_at_the_very_end_is_found_and_the_body_arrives_whole(
    http: httpx.AsyncClient, replica: FakeReplica, size: int
) -> None:
    """Whatever its size is, up to the limit."""
    body = body_of(size)

    answer = await http.post(CHAT, content=body)

    assert answer.status_code == 200
    assert replica.seen[-1].body == body
    assert replica.seen[-1].headers["x-sluice-model"] == "m"
    assert not [name for name in replica.seen[-1].headers if name.startswith("x-sluice-body")]


@pytest.mark.usefixtures("reader")
async def test_many_large_bodies_wait_for_each_other_and_all_arrive(
    http: httpx.AsyncClient, replica: FakeReplica, second: FakeReplica
) -> None:
    """Two at once pass; memory does not grow with the others."""
    bodies = [body_of(500_000 + index, "p") for index in range(8)]

    answers = await asyncio.gather(*(http.post(CHAT, content=body) for body in bodies))

    assert [answer.status_code for answer in answers] == [200] * 8
    assert sorted(len(each.body) for each in replica.seen + second.seen) == list(map(len, bodies))


@pytest.mark.usefixtures("reader")
async def test_what_waits_too_long_for_its_turn_is_told_to_come_back(
    http: httpx.AsyncClient, replica: FakeReplica, second: FakeReplica
) -> None:
    """Small requests are served meanwhile."""
    replica.script = second.script = Script(first_token_s=6.0)
    running = [
        asyncio.create_task(http.post(CHAT, content=body_of(size, "p")))
        for size in (300_000, 300_001)
    ]

    async def both() -> bool:
        return replica.active + second.active == 2

    await eventually(both)
    refused = await http.post(CHAT, content=body_of(300_002, "p"))
    replica.script = second.script = Script()
    small = await http.post(CHAT, json={"model": "p"})

    assert (refused.status_code, small.status_code) == (503, 200)
    assert refused.json()["error"]["code"] == "too_many_large_bodies"
    assert int(refused.headers["retry-after"]) >= 1
    assert [(await task).status_code for task in running] == [200, 200]


async def test_without_a_body_reader_only_large_bodies_are_refused(
    http: httpx.AsyncClient,
) -> None:
    """The edge does not depend on it otherwise."""
    large = await http.post(CHAT, content=body_of(300_000))
    small = await http.post(CHAT, json={"model": "m"})

    assert (large.status_code, small.status_code) == (503, 200)
    assert large.json()["error"]["code"] == "too_many_large_bodies"


@pytest.mark.parametrize(
    ("model", "status", "code"), [("nobody", 404, "model_not_found"), ("empty", 503, None)]
)
@pytest.mark.usefixtures("reader")
async def test_a_large_body_gets_the_same_answers(
    http: httpx.AsyncClient, model: str, status: int, code: str | None
) -> None:
    """The body reader decides nothing."""
    answer = await http.post(CHAT, content=body_of(300_000, model))

    assert answer.status_code == status
    assert answer.json()["error"]["code"] == code or status == 503


@pytest.mark.usefixtures("reader")
async def test_a_large_body_without_a_model_needs_a_header_or_a_path(
    http: httpx.AsyncClient, replica: FakeReplica
) -> None:
    """As a small one does."""
    body = json.dumps({"prompt": "x" * 300_000}).encode()

    bare = await http.post(CHAT, content=body)
    headed = await http.post(CHAT, content=body, headers={"x-model": "default"})
    by_path = await http.post("/models/org%2Fmodel/v1/completions", content=body)

    assert [each.status_code for each in (bare, headed, by_path)] == [400, 200, 200]
    assert bare.json()["error"]["code"] == "model_required"
    named = [each.headers["x-sluice-model"] for each in replica.seen]
    assert named == ["default", "org/model"]
    assert replica.seen[-1].path == "/v1/completions"


@pytest.mark.usefixtures("reader")
async def test_a_client_cannot_speak_for_the_body_reader(
    http: httpx.AsyncClient, replica: FakeReplica
) -> None:
    """What comes back from it was written by it."""
    forged = {"x-sluice-body-model": "p", "x-sluice-named": "p", "x-sluice-priority": "-5"}

    small = await http.post(CHAT, json={"model": "m"}, headers=forged)
    large = await http.post(CHAT, content=body_of(300_000), headers=forged)
    bare = await http.post(CHAT, content=b'{"a":"' + b"x" * 300_000 + b'"}', headers=forged)

    assert [each.status_code for each in (small, large, bare)] == [200, 200, 400]
    assert [each.headers["x-sluice-model"] for each in replica.seen] == ["m", "m"]


@pytest.mark.usefixtures("reader")
async def test_a_large_body_that_comes_too_slowly_is_given_up_before_a_replica_has_it(
    edge: RealHaproxy, http: httpx.AsyncClient, replica: FakeReplica
) -> None:
    """A slow client holds no replica's place."""
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.config.port)
    writer.write(b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 300000\r\n\r\n{")
    await writer.drain()

    answer = await asyncio.wait_for(reader.read(), 10)

    writer.close()
    assert answer.startswith(b"HTTP/1.1 408")
    assert b'"code":"request_timeout"' in answer
    assert replica.seen == []
    assert (await http.post(CHAT, content=body_of(300_000))).status_code == 200


@pytest.mark.usefixtures("reader")
async def test_a_replica_learns_that_the_client_of_a_large_body_left(
    http: httpx.AsyncClient, replica: FakeReplica
) -> None:
    """Through both HAProxys."""
    replica.script = Script(first_token_s=30.0)
    asking = asyncio.create_task(http.post(CHAT, content=body_of(300_000)))

    async def active() -> bool:
        return replica.active == 1

    async def left() -> bool:
        return len(replica.left_at) == 1

    await eventually(active)
    asking.cancel()

    await eventually(left)
    assert replica.active == 0


@pytest.mark.usefixtures("reader")
async def test_a_large_conversation_stays_on_one_server(http: httpx.AsyncClient) -> None:
    """The beginning of a body chooses, however long the body is."""
    prompt = "system prompt " * 20_000

    answers = [
        await http.post(CHAT, json={"prompt": prompt + str(turn), "model": "p"})
        for turn in range(4)
    ]

    assert len({answer.headers["x-sluice-replica"] for answer in answers}) == 1


async def test_the_largest_body_is_a_setting(config: EdgeConfig) -> None:
    """The body reader's buffers follow it."""
    text = render_reader(replace(config, body_bytes_max=1_000_000))

    assert "tune.bufsize 1065536" in text
    assert not re.search(r"<[a-z_:]+>", text)
