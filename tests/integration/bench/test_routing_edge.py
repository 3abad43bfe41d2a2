"""The HAProxy of `bench routing` spreads requests as each policy says; bad input starts nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest

from libs.contracts.ids import ModelName
from libs.contracts.model_spec import Device, ModelSpec
from libs.haproxy.config import Balance
from libs.testing.eventually import eventually
from libs.testing.fake_replica import FakeReplica, Script, fake_replica
from libs.testing.local_stack import sluice
from tools.bench.routing.fleet import Fleet, policy_edge
from tools.bench.routing.policies import Policy

SPEC = ModelSpec(name=ModelName("m"), source="builtin:none", device=Device.SIMULATED)
REQUESTS = 12


@pytest.fixture
async def replicas() -> AsyncIterator[list[FakeReplica]]:
    """Run three replicas."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(fake_replica(f"r{number}")) for number in range(3)]


async def spread(replicas: list[FakeReplica], policy: Policy) -> list[int]:
    """Send requests with two different beginnings, and return how many each replica got."""
    fleet = Fleet(spec=SPEC, urls=tuple(f"http://{each.endpoint}" for each in replicas))
    async with (
        policy_edge(fleet, policy) as url,
        httpx.AsyncClient(base_url=url, timeout=20) as http,
    ):
        for number in range(REQUESTS):
            prompt = f"{'one' if number % 2 else 'two'} {number}"
            answer = await http.post("/v1/completions", json={"model": "m", "prompt": prompt})
            assert answer.status_code == 200
    return sorted(len(each.seen) for each in replicas)


async def test_round_robin_takes_turns(replicas: list[FakeReplica]) -> None:
    """Whatever the prompts are."""
    policy = Policy(name="turns", balance=Balance.ROUND_ROBIN)

    assert await spread(replicas, policy) == [4, 4, 4]


async def test_a_prefix_sends_equal_beginnings_to_one_replica(
    replicas: list[FakeReplica],
) -> None:
    """Two beginnings reach one or two replicas, never a third."""
    head = len('{"model":"m","prompt":"one')

    policy = Policy(name="head", balance=Balance.PREFIX, prefix_bytes=head)
    found = await spread(replicas, policy)

    assert found in ([0, 0, REQUESTS], [0, REQUESTS // 2, REQUESTS // 2])


async def test_a_hot_prefix_is_shared_beyond_its_bound(replicas: list[FakeReplica]) -> None:
    """All at once with one beginning: one replica has at most its share times the bound."""
    for each in replicas:
        each.script = Script(tokens=10_000, token_s=0.05)
    fleet = Fleet(spec=SPEC, urls=tuple(f"http://{each.endpoint}" for each in replicas))
    policy = Policy(name="hot", balance=Balance.PREFIX, bound_percent=200)

    async def all_asked() -> bool:
        return sum(len(each.seen) for each in replicas) == REQUESTS

    async with (
        policy_edge(fleet, policy) as url,
        httpx.AsyncClient(base_url=url, timeout=20) as http,
        asyncio.TaskGroup() as group,
    ):
        body = {"model": "m", "prompt": "the same", "stream": True}
        asked = [
            group.create_task(http.post("/v1/completions", json=body)) for _ in range(REQUESTS)
        ]
        await eventually(all_asked, what="every request at a replica")
        for each in replicas:
            each.finishing = True
    answers = [task.result() for task in asked]

    assert {answer.status_code for answer in answers} == {200}
    assert max(len(each.seen) for each in replicas) == 2 * REQUESTS // len(replicas)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--policies", "random"), "is no policy"),
        (("--trace", "/nonexistent.jsonl"), "cannot read the trace"),
        (("--block-tokens", "512"), "lower --block-tokens"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    tmp_path: Path, options: tuple[str, str], told: str
) -> None:
    """Before any replica starts."""
    done = sluice("bench", "routing", *options, var=tmp_path / "var")

    (line,) = done.err.strip().splitlines()
    assert (done.code, told in line) == (2, True), line
