"""Each request reaches a front end that can serve it: main pool or twin, by name, path and body."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from libs.haproxy.commands import ServerSpec
from libs.haproxy.config import Balance, PoolConfig
from libs.testing.fake_replica import FakeReplica, fake_replica
from libs.testing.real_haproxy import RealHaproxy, edge_config, real_body_reader, real_haproxy

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
PLAIN = {"messages": [{"role": "user", "content": "hello"}]}
ROUTES = (
    ("split", "lc0:m:split"),
    ("python", "lc0:m:python"),
    ("any", "lc0:m:any"),
    ("old", "lc0:m"),
    ("prefix", "px0:p:split"),
)


def _server(replica: FakeReplica) -> ServerSpec:
    return ServerSpec(name="r.aa", number=101, address=str(replica.endpoint), weight=16, maxconn=8)


@pytest.fixture
async def rust() -> AsyncIterator[FakeReplica]:
    """Run a replica's main front end."""
    async with fake_replica("rust") as running:
        yield running


@pytest.fixture
async def python() -> AsyncIterator[FakeReplica]:
    """Run the same replica's Python application."""
    async with fake_replica("python") as running:
        yield running


@pytest.fixture
async def edge(folder: Path, rust: FakeReplica, python: FakeReplica) -> AsyncIterator[RealHaproxy]:
    """Run HAProxy before both."""
    servers = {"servers": (_server(rust),), "python_servers": (_server(python),)}
    pools = (
        PoolConfig(name="lc0", balance=Balance.LEAST_LOADED, **servers),
        PoolConfig(name="px0", balance=Balance.PREFIX, **servers),
    )
    async with real_haproxy(edge_config(folder), pools, routes=ROUTES) as running:
        yield running


async def served_by(http: httpx.AsyncClient, path: str = CHAT, **sent: object) -> str:
    """Return the front end that answered."""
    headers = sent.pop("headers", None)
    body = sent.pop("content", None) or json.dumps(sent)
    answer = await http.post(path, content=body, headers=headers)  # type: ignore[arg-type]
    assert answer.status_code == httpx.codes.OK, answer.text
    return answer.headers["x-sluice-replica"]


@pytest.mark.parametrize(
    ("model", "front_end"),
    [
        ("split", "rust"),
        ("prefix", "rust"),
        ("python", "python"),
        ("any", "rust"),
        ("old", "rust"),
    ],
)
async def test_a_plain_request_goes_where_its_name_leads(
    http: httpx.AsyncClient, model: str, front_end: str
) -> None:
    """A value of two fields is from an older router-config and means the main pool."""
    assert await served_by(http, model=model, **PLAIN) == front_end
    assert await served_by(http, COMPLETIONS, model=model, prompt="x") == front_end


@pytest.mark.parametrize(
    "field", [{"n": 2}, {"tools": []}, {"request_id": "x"}, {"stop": ["a"], "echo": True}]
)
async def test_a_field_that_only_python_serves_decides_for_split_names_alone(
    http: httpx.AsyncClient, field: dict[str, object]
) -> None:
    """Before the messages and behind them."""
    for model in ("split", "prefix"):
        assert await served_by(http, **field, model=model, **PLAIN) == "python"
        assert await served_by(http, model=model, **PLAIN, **field) == "python"
    assert await served_by(http, model="any", **PLAIN, **field) == "rust"


async def test_a_path_that_the_rust_front_end_does_not_know_goes_to_python(
    http: httpx.AsyncClient,
) -> None:
    """Whatever the body says."""
    assert await served_by(http, "/v1/embeddings", model="split", input="x") == "python"
    assert await served_by(http, "/v1/responses", model="split", input="x") == "python"
    assert await served_by(http, "/v1/responses", model="any", input="x") == "rust"


async def test_a_model_that_the_body_does_not_name_goes_to_python(http: httpx.AsyncClient) -> None:
    """The Rust front end would answer with its base model, or with another name in the body."""
    assert await served_by(http, headers={"x-model": "split"}, **PLAIN) == "python"
    assert await served_by(http, f"/models/split{CHAT}", **PLAIN) == "python"
    assert await served_by(http, f"/models/split{CHAT}", model="other", **PLAIN) == "python"
    assert await served_by(http, headers={"x-model": "other"}, model="split", **PLAIN) == "rust"


async def test_large_bodies_are_divided_like_small_ones(
    edge: RealHaproxy, http: httpx.AsyncClient
) -> None:
    """The body reader looks at the whole body and tells the edge."""
    long = {"messages": [{"role": "user", "content": "x" * 300_000}]}
    async with real_body_reader(edge.config):
        for model in ("split", "prefix"):
            assert await served_by(http, model=model, **long) == "rust"
            assert await served_by(http, **long, n=2, model=model) == "python"
            assert await served_by(http, n=2, **long, model=model) == "python"
        assert await served_by(http, model="any", **long, n=2) == "rust"
        assert await served_by(http, headers={"x-model": "split"}, **long) == "python"
        assert await served_by(http, f"/models/split{CHAT}", model="split", **long) == "python"
        assert await served_by(http, "/v1/embeddings", model="split", **long) == "python"
