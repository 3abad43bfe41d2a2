"""Faults of two fixed seeds, one after the other, on a stack under load; see tools/bench/chaos."""

import asyncio

import pytest

from tools.bench.chaos.plan import FIXED_SEEDS, ChaosPlan, chosen, fixed_faults
from tools.bench.chaos.run import run_chaos
from tools.bench.chaos.world import World

MINUTES = 1.5


@pytest.mark.parametrize("seed", FIXED_SEEDS)
async def test_nothing_fails_that_may_not_and_all_is_right_again(world: World, seed: int) -> None:
    """Requests, streams, replicas, `status` and what the stack holds of the machine."""
    plan = ChaosPlan(seconds=60 * MINUTES, seed=seed, faults=fixed_faults())

    found = await run_chaos(plan, world, say=print, stop=asyncio.Event())

    assert found.problems == [], logs_of(world)
    assert found.ledger.requests > 100
    assert found.asked > 0


async def test_a_full_disk_costs_nothing_and_is_got_over(world: World) -> None:
    """Needs a file system that may be filled."""
    if not world.has_own_disk:
        pytest.skip("a file system of its own for the stack needs root")
    plan = ChaosPlan(seconds=0.1, faults=chosen("fill-disk", minutes=MINUTES))

    found = await run_chaos(plan, world, say=print, stop=asyncio.Event())

    assert found.problems == [], logs_of(world)
    assert [each.name for each in found.steps] == ["fill-disk"]


def logs_of(world: World) -> str:
    """Return the last lines of each of the stack's programs."""
    return "\n".join(
        f"--- {file.name}\n" + "\n".join(file.read_text(errors="replace").splitlines()[-40:])
        for file in sorted((world.stack.var / "log").glob("*.log"))
    )
