"""What every `EventBus` promises; run against the fake and against a real nats-server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from opentelemetry.sdk.trace import TracerProvider

from libs.bus.ports import Received, StoredFact
from libs.bus.report_queue import REPORTS_WAITING_MAX
from libs.errors import PeerUnreachableError
from libs.testing.bus_worlds import BusUnderTest
from libs.testing.records import a_fact, a_load_report


async def test_facts_are_read_in_the_order_in_which_they_were_recorded(world: BusUnderTest) -> None:
    """The stream is the record."""
    for number in (1, 2, 3):
        await world.bus.record(a_fact(number, target=number))

    found = await read_all(world.bus.facts())

    assert [fact.value for fact in found] == [a_fact(n, target=n) for n in (1, 2, 3)]


async def test_no_facts_read_as_nothing(world: BusUnderTest) -> None:
    """The end of an empty stream is known at once."""
    assert await read_all(world.bus.facts()) == []


async def test_reading_goes_on_after_a_place(world: BusUnderTest) -> None:
    """A reader that remembers its place misses nothing and repeats nothing."""
    for number in (1, 2, 3):
        await world.bus.record(a_fact(number, target=number))
    place = (await read_all(world.bus.facts()))[1].sequence

    found = await read_all(world.bus.facts(after_sequence=place))

    assert [fact.value for fact in found] == [a_fact(3, target=3)]


async def test_the_same_event_is_stored_once(world: BusUnderTest) -> None:
    """A writer that is unsure may write again."""
    await world.bus.record(a_fact(1))
    await world.bus.record(a_fact(1))

    assert len(await read_all(world.bus.facts())) == 1


async def test_a_fact_carries_the_trace_context_of_its_writer(world: BusUnderTest) -> None:
    """`traceparent` travels in the headers, not in the body."""
    tracer = TracerProvider().get_tracer("test")

    with tracer.start_as_current_span("write") as span:
        await world.bus.record(a_fact())
    (found,) = await read_all(world.bus.facts())

    assert f"{span.get_span_context().trace_id:032x}" in found.headers["traceparent"]


async def test_facts_survive_the_server(world: BusUnderTest) -> None:
    """A kill and a start lose nothing that was acknowledged."""
    await world.bus.record(a_fact())

    await world.go_away()
    await world.come_back()

    assert len(await read_all(world.bus.facts())) == 1


async def test_recording_while_the_bus_is_away_fails_in_time(world: BusUnderTest) -> None:
    """The caller knows that the fact is not stored."""
    await world.go_away()

    async with asyncio.timeout(10):
        with pytest.raises(PeerUnreachableError):
            await world.bus.record(a_fact())


async def test_a_report_reaches_those_who_listen_to_its_subject(world: BusUnderTest) -> None:
    """Subjects select; what is sent to nobody is no error."""
    await world.bus.report(a_load_report("unheard"))

    async with world.bus.reports("load.m.*") as mine, world.bus.reports("load.other.>") as other:
        await world.bus.report(a_load_report("r1"))
        await world.bus.report(a_load_report("r2", model="other"))
        first, second = await one(mine), await one(other)

    assert first.subject == "load.m.r1"
    assert first.value == a_load_report("r1")
    assert second.subject == "load.other.r2"


async def test_a_report_carries_the_trace_context_of_its_sender(world: BusUnderTest) -> None:
    """`traceparent` travels in the headers of core messages too."""
    tracer = TracerProvider().get_tracer("test")

    async with world.bus.reports("load.>") as reports:
        with tracer.start_as_current_span("send") as span:
            await world.bus.report(a_load_report())
        received = await one(reports)

    assert f"{span.get_span_context().trace_id:032x}" in received.headers["traceparent"]


async def test_a_slow_listener_loses_the_oldest_reports(world: BusUnderTest) -> None:
    """What is new says more than what is old, and memory is bounded."""
    surplus = 10

    async with world.bus.reports("load.>") as reports, world.bus.reports("load.m.last") as last:
        for number in range(REPORTS_WAITING_MAX + surplus):
            await world.bus.report(a_load_report(running=number))
        await world.bus.report(a_load_report("last"))
        await one(last)
        await asyncio.sleep(0.1)
        oldest = await one(reports)

    assert oldest.value == a_load_report(running=surplus + 1)


async def test_listening_outlives_the_connection(world: BusUnderTest) -> None:
    """A listener hears what is sent after the bus has come back."""
    async with world.bus.reports("load.>") as reports:
        await world.go_away()
        await world.come_back()
        waiting = asyncio.create_task(one(reports))
        async with asyncio.timeout(5):
            while not waiting.done():
                await report_if_possible(world)
                await asyncio.sleep(0.05)

    assert (await waiting).value == a_load_report()


async def test_reporting_while_the_bus_is_away_fails_at_once(world: BusUnderTest) -> None:
    """A report that would come late is not worth waiting for."""
    await world.go_away()
    await asyncio.sleep(0.2)

    async with asyncio.timeout(0.5):
        with pytest.raises(PeerUnreachableError):
            await world.bus.report(a_load_report())


async def read_all(facts: AsyncIterator[StoredFact]) -> list[StoredFact]:
    """Read to the end."""
    async with asyncio.timeout(5):
        return [fact async for fact in facts]


async def one(reports: AsyncIterator[Received]) -> Received:
    """Read one report."""
    async with asyncio.timeout(5):
        return await anext(reports)


async def report_if_possible(world: BusUnderTest) -> None:
    """Send a report, or do without while the bus is not back."""
    try:
        await world.bus.report(a_load_report())
    except PeerUnreachableError:
        return
