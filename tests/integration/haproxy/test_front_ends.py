"""Each request reaches a front end that can serve it: main pool or twin, by name, path and body."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from libs.haproxy.commands import ServerSpec
from libs.haproxy.config import Balance, PoolConfig
from libs.testing.fake_replica import FakeReplica, fake_replica
from libs.testing.real_haproxy import RealHaproxy, edge_config, real_body_reader, real_haproxy

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
Fields = dict[str, object]
PLAIN: Fields = {"messages": [{"role": "user", "content": "hello"}]}
ROUTES = (
    ("split", "lc0:m:split"),
    ("python", "lc0:m:python"),
    ("any", "lc0:m:any"),
    ("short", "lc0:m"),
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
    pools = tuple(
        PoolConfig(
            name=name,
            balance=balance,
            servers=(_server(rust),),
            python_servers=(_server(python),),
        )
        for name, balance in (("lc0", Balance.LEAST_LOADED), ("px0", Balance.PREFIX))
    )
    async with real_haproxy(edge_config(folder), pools, routes=ROUTES) as running:
        yield running


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """Sends requests and tells which front end answered."""

    http: httpx.AsyncClient

    async def chat(
        self, fields: Mapping[str, object], *, path: str = CHAT, x_model: str | None = None
    ) -> str:
        """Send one request with these fields in this order."""
        headers = {"x-model": x_model} if x_model else {}
        answer = await self.http.post(path, content=json.dumps(fields), headers=headers)
        assert answer.status_code == httpx.codes.OK, answer.text
        return answer.headers["x-sluice-replica"]


@pytest.fixture
def asking(http: httpx.AsyncClient) -> Asking:
    """Offer a client of the edge."""
    return Asking(http=http)


@pytest.mark.parametrize(
    ("model", "front_end"),
    [
        ("split", "rust"),
        ("prefix", "rust"),
        ("python", "python"),
        ("any", "python"),
        ("short", "python"),
    ],
)
async def test_a_plain_request_goes_where_its_name_leads(
    asking: Asking, model: str, front_end: str
) -> None:
    """A value that is not known, as older releases wrote some, means what serves everything."""
    assert await asking.chat({"model": model} | PLAIN) == front_end
    assert await asking.chat({"model": model, "prompt": "x"}, path=COMPLETIONS) == front_end


@pytest.mark.parametrize(
    "field",
    [
        {"n": 2},
        {"tools": []},
        {"request_id": "x"},
        {"stop": ["a"], "echo": True},
        {"structured_outputs": {"regex": "a" * 40_000}},
    ],
)
async def test_a_field_that_only_python_serves_decides(asking: Asking, field: Fields) -> None:
    """Before the messages and behind them."""
    for model in ({"model": "split"}, {"model": "prefix"}):
        assert await asking.chat(field | model | PLAIN) == "python"
        assert await asking.chat(model | PLAIN | field) == "python"


async def test_a_path_that_the_rust_front_end_does_not_know_goes_to_python(
    asking: Asking,
) -> None:
    """Whatever the body says."""
    body: Fields = {"model": "split", "input": "x"}

    assert await asking.chat(body, path="/v1/embeddings") == "python"
    assert await asking.chat(body, path="/v1/responses") == "python"


async def test_a_model_that_the_body_does_not_name_goes_to_python(asking: Asking) -> None:
    """The Rust front end would answer with its base model, or with another name in the body."""
    named = f"/models/split{CHAT}"

    assert await asking.chat(PLAIN, x_model="split") == "python"
    assert await asking.chat(PLAIN, path=named) == "python"
    assert await asking.chat({"model": "other"} | PLAIN, path=named) == "python"
    assert await asking.chat({"model": "split"} | PLAIN, x_model="other") == "rust"


async def test_large_bodies_are_divided_like_small_ones(edge: RealHaproxy, asking: Asking) -> None:
    """The body reader looks at the whole body and tells the edge."""
    long: Fields = {"messages": [{"role": "user", "content": "x" * 300_000}]}
    split: Fields = {"model": "split"}
    prefix: Fields = {"model": "prefix"}
    several: Fields = {"n": 2}
    async with real_body_reader(edge.config):
        for model in (split, prefix):
            assert await asking.chat(model | long) == "rust"
            assert await asking.chat(long | several | model) == "python"
            assert await asking.chat(several | long | model) == "python"
        assert await asking.chat(long | {"model": "python"}) == "python"
        assert await asking.chat(long, x_model="split") == "python"
        assert await asking.chat(split | long, path=f"/models/split{CHAT}") == "python"
        assert await asking.chat(split | long, path="/v1/embeddings") == "python"
