"""No body with a member that only Python serves reaches the Rust front end, however it is written.

Bodies are generated with every freedom that JSON gives: order, white space, escapes, nesting.
"""

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
from libs.haproxy.front_ends import MEASURED_FROM_BYTES, NEAR_THE_END, TABLE
from libs.testing.fake_replica import fake_replica
from libs.testing.real_haproxy import edge_config, real_haproxy

LARGE_VALUE = {"x": "y" * MEASURED_FROM_BYTES}
"""Python has limits for the size of these members; small ones are served by Rust."""

BAD_VALUES: dict[str, object] = {
    "prompt": ["a"],
    "content": 7,
    "name": "x",
    **{name: LARGE_VALUE for name, shape in TABLE.beginnings.items() if shape == NEAR_THE_END},
}
SPACES = st.sampled_from(["", "", "", " ", "\n\t", "  \r\n"])
HARMLESS = st.sampled_from(["user", "stop", "metadata", "x", "nn", "tool", "[", "}", '"n":', "\\"])
TEXTS = st.sampled_from(
    [
        "",
        "n",
        "hello",
        '"n":2',
        '{"tools":[]}',
        "\\",
        '\\"',
        '{"n"',
        "é\u2028🙂",
        "\x00\n",
        "]",
        "}",
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(HARMLESS, inner, max_size=3),
    max_leaves=6,
)


def _written(draw: st.DrawFn, value: object) -> str:
    """Write JSON with white space wherever it may be, and some letters of names as escapes."""
    if isinstance(value, dict):
        members = (
            f"{_name(draw, key)}{draw(SPACES)}:{draw(SPACES)}{_written(draw, each)}"
            for key, each in value.items()
        )
        separator = f"{draw(SPACES)},{draw(SPACES)}"
        return "{" + draw(SPACES) + separator.join(members) + draw(SPACES) + "}"
    if isinstance(value, list):
        return "[" + f",{draw(SPACES)}".join(_written(draw, each) for each in value) + "]"
    return json.dumps(value, ensure_ascii=draw(st.booleans()))


def _name(draw: st.DrawFn, key: str) -> str:
    text = json.dumps(key)
    if key.isascii() and key.isalpha() and draw(st.integers(0, 3)) == 0:
        at = draw(st.integers(0, len(key) - 1))
        escape = f"\\u{ord(key[at]):04x}"
        escape = escape if draw(st.booleans()) else escape[:2] + escape[2:].upper()
        text = f'"{key[:at]}{escape}{key[at + 1 :]}"'
    return text


@st.composite
def bodies(draw: st.DrawFn) -> tuple[bytes, bool]:
    """Return a body, and whether it has a member that only Python serves."""
    pairs: list[tuple[str, object]] = list(
        draw(st.dictionaries(HARMLESS, VALUES, max_size=4)).items()
    )
    if draw(st.booleans()):
        pairs.insert(0, ("messages", [{"role": "user", "content": "x" * 1500}]))
    pairs.insert(draw(st.integers(0, len(pairs))), ("model", "m"))
    needs_python = draw(st.booleans())
    if needs_python:
        name = draw(st.sampled_from(sorted({*TABLE.values, *TABLE.beginnings})))
        value = BAD_VALUES.get(name, {"x": [1]})
        pairs.insert(draw(st.integers(0, len(pairs))), (name, value))
    return _written(draw, dict(pairs)).encode(), needs_python


async def edge_on(stack: AsyncExitStack, folder: Path) -> httpx.AsyncClient:
    """Run HAProxy before a replica's two front ends."""
    rust = await stack.enter_async_context(fake_replica("rust"))
    python = await stack.enter_async_context(fake_replica("python"))
    main, twin = (
        ServerSpec(
            name="r.aa",
            number=101,
            address=str(each.endpoint),
            weight=16,
            maxconn=8,
            check_interval_s=600,  # the fakes answer only while the loop runs
        )
        for each in (rust, python)
    )
    pool = PoolConfig(name="px0", balance=Balance.PREFIX, servers=(main,), python_servers=(twin,))
    config = edge_config(folder)
    routes = (("m", "px0:m:split"),)
    await stack.enter_async_context(real_haproxy(config, (pool,), routes=routes))
    client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{config.port}", timeout=20)
    return await stack.enter_async_context(client)


def test_what_only_python_serves_never_reaches_the_rust_front_end(folder: Path) -> None:
    """Whatever Python's `json` reads as such a member of the body; false alarms do no harm."""
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        http = runner.run(edge_on(stack, folder))
        served = {"rust": 0, "python": 0}

        @settings(
            max_examples=600,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(bodies())
        def is_served(drawn: tuple[bytes, bool]) -> None:
            body, needs_python = drawn
            answer = runner.run(
                http.post("/v1/chat/completions", content=body, headers={"x-model": "m"})
            )

            assert json.loads(body)["model"] == "m"
            assert answer.status_code == 200, body
            front_end = answer.headers["x-sluice-replica"]
            assert not (needs_python and front_end == "rust"), body
            served[front_end] += 1

        try:
            is_served()
        finally:
            runner.run(stack.aclose())

    assert served["rust"] > 50
