"""The edge and the Rust program read the same model in whatever body, or one of them refuses it.

The edge routes and counts a request by the model that it reads; the Rust program has no middleware
that would compare it with its own reading. So for every body that the edge sends to it, the program
must read the same model or answer an error. It tells what it read: it answers under the name, or
says that there is no model of this name.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from libs.haproxy.commands import ServerSpec
from libs.haproxy.config import Balance, PoolConfig
from libs.haproxy.front_ends import TABLE
from libs.testing.fake_replica import FakeReplica, fake_replica
from libs.testing.front_ends.asking import ask
from libs.testing.front_ends.cases import COMPLETIONS, MODEL, Case
from libs.testing.front_ends.compare import Answer
from libs.testing.front_ends.verdict import python_test
from libs.testing.real_haproxy import edge_config, real_haproxy, short_folder
from libs.testing.two_front_ends import FrontEnds

NAMES: Final = (MODEL, "other", "org/model")
"""What the edge routes; the Rust program serves the first alone."""

_EXAMPLES: Final = 1_500
_UNKNOWN: Final = re.compile(r"The model `(.*)` does not exist", re.DOTALL)

GOOD_KEYS: Final = (
    *('"model"', '"a"', '"b"', '""', '"Model"', '"model "', '" model"', '"],"', '"}"', '"c"'),
    *(r'"mod\u0065l"', r'"\u006dodel"', r'"a\"model"', r'"\\"', '"d"', '"e"', '"f"', '"g"'),
)
GOOD_VALUES: Final = (
    *(f'"{name}"' for name in NAMES),
    *(r'"\u006d"', r'"\u006f\u0074her"', r'"oth\u0065r"', r'"org\/model"', '"m "', '"M"', '""'),
    *('"nothing"', r'"\"model\":\"other\""', r'"],\"model\":\"other\","', '"],"', '"}"', '"{"'),
    *(r'"\\"', r'"m\u0000"', r'"m\n"', r'"\ud83e\udd8a"', "1", "-1", "1.5", "true", "null"),
    *("[]", "{}", '["]"]', '[{"model":"other"}]', '{"model":"other"}', '{"a":{"model":"other"}}'),
)
BAD_KEYS: Final = ("'model'", "model", "5", "null", '"model', 'model"')
BAD_VALUES: Final = (
    '"m\n"',
    r'"\ud800"',
    "'m'",
    "m",
    '"\x00"',
    "NaN",
    "",
    "]",
    "}",
    '"',
    r'"\x6d"',
)
GOOD_SPACES: Final = ("", "", "", " ", "\n", "\t")
BAD_SPACES: Final = ("\x00", "\ufeff", "\x0b", "/**/")
_RARELY: Final = 40


@st.composite
def mostly(draw: st.DrawFn, good: tuple[str, ...], bad: tuple[str, ...]) -> str:
    """Return a piece that is right JSON, but for a few."""
    is_bad = draw(st.integers(1, _RARELY)) == 1
    return draw(st.sampled_from(bad if is_bad else good))


SPACES: Final = mostly(GOOD_SPACES, BAD_SPACES)
MEMBERS: Final = st.builds(
    "{}{}:{}{}{}".format,
    mostly(GOOD_KEYS, BAD_KEYS),
    SPACES,
    SPACES,
    mostly(GOOD_VALUES, BAD_VALUES),
    SPACES,
)


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Return a completion with more members, and the model anywhere, twice or nowhere."""
    model = f'"model":"{draw(st.sampled_from(NAMES))}"'
    others = draw(st.lists(MEMBERS, max_size=3))
    parts = ['"prompt":"Hello there"', '"max_tokens":1', *others]
    parts += [model] if draw(st.integers(0, 5)) else []
    text = f"{{{','.join(draw(st.permutations(parts)))}}}"
    end = draw(mostly(("",), ("}", "{}", "\n", "x")))
    body = (text + end).encode("utf-8", "surrogatepass")
    return body[: len(body) - draw(st.sampled_from([0] * _RARELY + [1, 2, 5]))]


BODIES: Final = bodies()


@pytest.fixture
def folder() -> Iterator[Path]:
    """Offer a folder whose path is short enough for sockets."""
    with short_folder() as made:
        yield made


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


def read_by_rust(answer: Answer) -> str | None:
    """Return the model that the program read; None when it refused the body for another reason."""
    if answer.is_success:
        return MODEL
    said = str((answer.error or {}).get("message", ""))
    found = _UNKNOWN.search(said)
    return found[1] if found else None


def test_the_edge_and_the_rust_program_read_the_same_model(
    folder: Path, front_ends: FrontEnds
) -> None:
    """Or one of them refuses the body."""
    compared: list[str] = []
    needs_python = python_test(TABLE)
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        replica, http = runner.run(edge_on(stack, folder))

        @settings(
            max_examples=_EXAMPLES,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(BODIES)
        def is_read_alike(body: bytes) -> None:
            case = Case(name="a body", path=COMPLETIONS, body=body)
            seen = len(replica.seen)
            runner.run(http.post(case.path, content=body, headers=dict(case.headers)))
            if len(replica.seen) == seen or needs_python(case):
                return
            edges = replica.seen[-1].headers["x-sluice-model"]

            rusts = read_by_rust(ask(front_ends.rust, case))

            assert rusts in (None, edges), body
            compared.extend([edges] if rusts else [])

        try:
            is_read_alike()
        finally:
            runner.run(stack.aclose())
    assert len(compared) > _EXAMPLES // 10, "too few bodies were read by both"
    assert set(compared) >= set(NAMES), "a name was never read"
