"""One leader at a time, on the fake bus and on a real one."""

from __future__ import annotations

import asyncio

from libs.bus.leadership import Leadership
from libs.clock import Clock, SystemClock
from libs.contracts.leader import LEADER_REFRESH_S, LEADER_TTL_S, LeaderClaim
from libs.contracts.subjects import LEADERS_BUCKET
from libs.testing.bus_worlds import BusUnderTest, InMemoryWorld


async def test_the_first_to_claim_leads_and_the_second_does_not(world: BusUnderTest) -> None:
    """And it stays so while the first one refreshes."""
    first, second = claimant(world, "first"), claimant(world, "second")

    for _ in range(3):
        await first.refresh()
        await second.refresh()

        assert (first.leads, second.leads) == (True, False)


async def test_a_released_leadership_is_free_at_once(world: BusUnderTest) -> None:
    """A leader that stops in order makes nobody wait."""
    first, second = claimant(world, "first"), claimant(world, "second")
    await first.refresh()

    await first.release()
    await second.refresh()

    assert (first.leads, second.leads) == (False, True)


async def test_a_leader_that_falls_silent_is_followed_by_another(world: BusUnderTest) -> None:
    """It stops by its own clock before its claim expires on the bus."""
    first, second = claimant(world, "first"), claimant(world, "second")
    await first.refresh()

    await world.pass_time(5.3)
    first_leads = first.leads
    await second.refresh()
    await first.refresh()

    assert not first_leads
    assert (first.leads, second.leads) == (False, True)


async def test_a_leader_leads_again_after_the_bus_lost_its_disk(world: BusUnderTest) -> None:
    """Its old revision means nothing there, so it claims anew."""
    leader = claimant(world, "first")
    await leader.refresh()

    await world.go_away()
    await leader.refresh()
    await world.come_back(wiped=True)
    async with asyncio.timeout(5):
        await leader.refresh()

    assert leader.leads


async def test_a_claim_that_nothing_ends_is_taken_over(world: BusUnderTest) -> None:
    """A dead leader's claim that came back without a TTL holds nobody up for longer than one."""
    dead = LeaderClaim(service="autoscaler", holder="dead", claimed_at=0.0)
    await world.bus.put(LEADERS_BUCKET, "autoscaler", dead)
    second = claimant(world, "second")

    led: list[bool] = []
    for _ in range(8):
        await second.refresh()
        led.append(second.leads)
        await world.pass_time(LEADER_REFRESH_S)

    assert led[:5] == [False] * 5
    assert led[-1]


async def test_a_living_leader_is_never_taken_over() -> None:
    """It refreshes, so that its claim is another one each time."""
    world = InMemoryWorld()
    first, second = claimant(world, "first"), claimant(world, "second")

    for _ in range(8):
        await first.refresh()
        await second.refresh()
        await world.pass_time(LEADER_REFRESH_S)

        assert (first.leads, second.leads) == (True, False)


async def test_a_jump_of_the_clock_prolongs_no_leadership() -> None:
    """A leader that cannot refresh stops in time, whatever the Unix time is by then."""
    world = InMemoryWorld()
    leader = claimant(world, "first")
    await leader.refresh()

    world.bus.disconnect()
    world.clock.jump(-3600)
    await world.pass_time(LEADER_TTL_S)
    await leader.refresh()

    assert not leader.leads


def claimant(world: BusUnderTest, holder: str) -> Leadership:
    """Return a process that wants to lead."""
    clock: Clock = world.clock if isinstance(world, InMemoryWorld) else SystemClock()
    return Leadership(world.bus, clock, service="autoscaler", holder=holder)
