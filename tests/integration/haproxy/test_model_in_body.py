"""HAProxy reads a body's model as Python does, wherever it stands in whatever JSON object."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from libs.haproxy.commands import ServerSpec
from libs.haproxy.config import Balance, PoolConfig
from libs.testing.fake_replica import FakeReplica, fake_replica
from libs.testing.real_haproxy import edge_config, real_haproxy

NAMES = ("m", "other", "org/model")
WORDS = st.sampled_from(
    ["", "a", "model", '"model":"other"', "],", '],"model":"other",', "}{", "{", "\\", '"', "[1]"]
)
KEYS = st.sampled_from(["a", "b", "model", '"model"', "],", "messages"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | WORDS | st.sampled_from(NAMES),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
OTHERS = st.dictionaries(KEYS.filter(lambda key: key != "model"), VALUES, max_size=4)


@st.composite
def requests(draw: st.DrawFn) -> tuple[bytes, str]:
    """Return an object with a model at some place among its members, and the model."""
    pairs: list[tuple[str, object]] = list(draw(OTHERS).items())
    model = draw(st.sampled_from(NAMES))
    if draw(st.booleans()):
        pairs.insert(0, ("prompt", "x" * 1500))
    pairs.insert(draw(st.integers(0, len(pairs))), ("model", model))
    separators = draw(st.sampled_from([(",", ":"), (", ", ": ")]))
    return json.dumps(dict(pairs), separators=separators).encode(), model


REQUESTS = requests()


async def edge_on(stack: AsyncExitStack, folder: Path) -> tuple[FakeReplica, httpx.AsyncClient]:
    """Run HAProxy before one replica, which has every name."""
    replica = await stack.enter_async_context(fake_replica())
    config = edge_config(folder)
    server = ServerSpec(
        name="r.aa", number=101, address=str(replica.endpoint), weight=16, maxconn=8
    )
    pool = PoolConfig(name="px0", balance=Balance.PREFIX, python_servers=(server,))
    routes = tuple((name, "px0:m:python") for name in NAMES)
    await stack.enter_async_context(real_haproxy(config, (pool,), routes=routes))
    client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{config.port}", timeout=20)
    return replica, await stack.enter_async_context(client)


def test_the_model_is_found_wherever_it_stands(folder: Path) -> None:
    """Members of inner objects, brackets and quotes inside strings change nothing."""
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        replica, http = runner.run(edge_on(stack, folder))

        @settings(
            max_examples=400,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(REQUESTS)
        def is_found(request: tuple[bytes, str]) -> None:
            body, model = request

            answer = runner.run(http.post("/v1/completions", content=body))

            assert answer.status_code == 200, body
            assert replica.seen[-1].headers["x-sluice-model"] == model, body

        try:
            is_found()
        finally:
            runner.run(stack.aclose())
