"""A stream whose headers come before its first token, as the Rust front end sends them."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from libs.haproxy.config import EdgeConfig
from libs.testing.eventually import eventually
from libs.testing.fake_replica import FakeReplica, Script
from libs.testing.real_haproxy import edge_config

CHAT = "/v1/chat/completions"
SMALL, LARGE = 0, 100_000
"""Characters of the prompt: within HAProxy's buffer, and through the body reader."""

pytestmark = pytest.mark.usefixtures("reader")


@pytest.fixture
def config(folder: Path) -> EdgeConfig:
    """Let an answer take two seconds to its first byte."""
    return replace(edge_config(folder), body_bytes_max=1_000_000, response_timeout_s=2)


def asked(size: int) -> dict[str, object]:
    """Return a request for a stream."""
    return {"model": "m", "stream": True, "prompt": "x" * size}


async def waiting_stream(
    http: httpx.AsyncClient, replica: FakeReplica, size: int
) -> asyncio.Task[httpx.Response]:
    """Ask for a stream, and return when the replica has sent its headers, long before a token."""
    replica.script = Script(headers_first=True, first_token_s=30.0)
    asking = asyncio.create_task(http.post(CHAT, json=asked(size)))

    async def active() -> bool:
        return replica.active == 1

    await eventually(active)
    await asyncio.sleep(0.2)
    return asking


@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_a_stream_that_never_begins_is_an_error_in_openais_shape(
    http: httpx.AsyncClient, replica: FakeReplica, size: int
) -> None:
    """A client can retry such an answer, but not a stream that breaks off."""
    asking = await waiting_stream(http, replica, size)

    await replica.kill()
    answer = await asking

    assert answer.status_code == 502
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-sluice-replica"] == "r1.aa"
    assert answer.json()["error"]["code"] == "bad_gateway"
    assert "before the stream began" in answer.json()["error"]["message"]


@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_a_stream_that_begins_late_is_whole(
    http: httpx.AsyncClient, replica: FakeReplica, size: int
) -> None:
    """Its headers come with its first token, and each token on its own."""
    replica.script = Script(headers_first=True, first_token_s=0.5, token_s=0.2, tokens=3)
    async with http.stream("POST", CHAT, json=asked(size)) as answer:
        lines = [line async for line in answer.aiter_lines() if line]

    texts = [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/event-stream"
    assert [each["choices"][0]["delta"]["content"] for each in texts] == ["t0 ", "t1 ", "t2 "]
    assert lines[-1] == "data: [DONE]"


@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_a_replica_learns_that_the_client_of_a_stream_that_waits_left(
    http: httpx.AsyncClient, replica: FakeReplica, size: int
) -> None:
    """Also while HAProxy waits for the first token."""
    asking = await waiting_stream(http, replica, size)

    async def left() -> bool:
        return len(replica.left_at) == 1

    asking.cancel()
    await eventually(left)

    assert replica.active == 0


async def test_a_stream_that_waits_longer_than_an_answer_may_take_is_an_error(
    http: httpx.AsyncClient, replica: FakeReplica
) -> None:
    """The limit is the one for headers, which the Rust front end sends at once."""
    replica.script = Script(headers_first=True, first_token_s=30.0)

    answer = await http.post(CHAT, json=asked(SMALL))

    assert answer.status_code == 504
    assert answer.json()["error"]["code"] == "gateway_timeout"
