"""When the generator's loop rests: once for all that one turn has read, and after it has sent."""

from __future__ import annotations

import asyncio

from tools.bench.load.rest import REST_S, Rest


async def turns(count: int) -> None:
    """Let the loop go round."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_connections_that_are_read_together_share_a_rest() -> None:
    """However many they are; the next turn that reads has its own."""
    rests: list[float] = []
    rest = Rest(asyncio.get_running_loop(), rests.append)

    for _ in range(64):
        rest.after_reading()
    await turns(4)
    rest.after_reading()
    await turns(4)

    assert rests == [REST_S, REST_S]


async def test_a_loop_that_reads_nothing_never_rests() -> None:
    """Requests that are due go out in time."""
    rests: list[float] = []
    Rest(asyncio.get_running_loop(), rests.append)

    await turns(10)

    assert rests == []


async def test_a_client_whose_answer_has_ended_sends_before_the_rest() -> None:
    """Its latency counts from now on."""
    happened: list[str] = []
    loop = asyncio.get_running_loop()
    rest = Rest(loop, lambda _: happened.append("rest"))
    ended: asyncio.Future[None] = loop.create_future()

    async def client() -> None:
        await ended
        happened.append("send")

    sending = asyncio.create_task(client())
    await turns(1)
    rest.after_reading()
    ended.set_result(None)
    await turns(4)
    await sending

    assert happened == ["send", "rest"]
