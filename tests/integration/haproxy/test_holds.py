"""Requests for a pool without a usable server wait for one: bounded in number and in time."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest

from libs.haproxy.client import HaproxyClient
from libs.haproxy.codec import Ok
from libs.haproxy.commands import (
    AddServer,
    AdminState,
    EnableHealth,
    ServerRef,
    ServerSpec,
    SetServerState,
    ShowHolds,
)
from libs.haproxy.config import (
    FAILING_MAP,
    WHOLE_BODY_BYTES,
    Balance,
    EdgeConfig,
    PoolConfig,
    failing_value,
)
from libs.haproxy.hold import HoldLimits
from libs.haproxy.tables import parse_holds
from libs.testing.eventually import eventually
from libs.testing.fake_replica import FakeReplica, Script
from libs.testing.real_haproxy import edge_config, real_body_reader, real_haproxy

CHAT = "/v1/chat/completions"
LONG = HoldLimits(timeout_s=30, pool_max=8, all_max=12, large_max=1)
SHORT = replace(LONG, timeout_s=1)


@dataclass(slots=True, kw_only=True)
class Holding:
    """A HAProxy that holds: `m` has a server, `empty` and `other` have none."""

    pid: int
    admin: HaproxyClient
    http: httpx.AsyncClient
    config: EdgeConfig

    async def ask(self, model: str = "empty", **fields: object) -> httpx.Response:
        """Send one request."""
        return await self.http.post(CHAT, json={"model": model, **fields})

    def asking(self, count: int, model: str = "empty") -> list[asyncio.Task[httpx.Response]]:
        """Send requests that nobody waits for yet; each has its number."""
        return [asyncio.create_task(self.ask(model, number=number)) for number in range(count)]

    async def connected_asking(self) -> asyncio.StreamWriter:
        """Send a request over a connection of its own, which the caller may close."""
        _, writer = await asyncio.open_connection("127.0.0.1", self.config.port)
        head = "POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 17\r\n\r\n"
        writer.write(f'{head}{{"model":"empty"}}'.encode())
        await writer.drain()
        return writer

    async def held(self) -> dict[str, int] | None:
        """Return how many requests each pool holds."""
        return parse_holds(await self.admin.query(ShowHolds()))

    async def until_held(self, **wanted: int) -> None:
        """Wait until the pools hold as many."""
        await eventually(self._holds(wanted), what=f"{wanted} held")

    def _holds(self, wanted: dict[str, int]) -> Callable[[], Awaitable[bool]]:
        async def holds() -> bool:
            return await self.held() == wanted

        return holds

    async def add(self, replica: FakeReplica, *, pool: str = "lc1-py") -> ServerRef:
        """Add a server, as it is added to a running edge: it starts in maintenance."""
        spec = ServerSpec(
            name="r2.aa", number=102, address=str(replica.endpoint), weight=16, maxconn=64
        )
        await self.admin.execute(AddServer(pool=pool, server=spec))
        return ServerRef(pool=pool, name=spec.name)

    async def set_state(self, ref: ServerRef, state: AdminState) -> None:
        """Set a server's admin state."""
        await self.admin.execute(EnableHealth(ref=ref))
        await self.admin.execute(SetServerState(ref=ref, state=state))


@asynccontextmanager
async def holding(
    folder: Path, replica: FakeReplica, limits: HoldLimits = LONG, *, threads: int = 1
) -> AsyncIterator[Holding]:
    """Run a HAProxy that holds requests within these limits."""
    config = replace(
        edge_config(folder),
        threads=threads,
        holds=limits,
        large_bodies_max=4,
    )
    server = ServerSpec(
        name="r1.aa", number=101, address=str(replica.endpoint), weight=16, maxconn=64
    )
    pools = (
        PoolConfig(name="lc0", balance=Balance.LEAST_LOADED, python_servers=(server,)),
        PoolConfig(name="lc1", balance=Balance.LEAST_LOADED),
        PoolConfig(name="px0", balance=Balance.PREFIX),
    )
    routes = (
        ("m", "lc0:m:python"),
        ("empty", "lc1:empty:python"),
        ("split", "lc1:empty:split"),
        ("other", "px0:other:python"),
    )
    async with (
        real_haproxy(config, pools, routes=routes) as running,
        httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{config.port}",
            timeout=60,
            limits=httpx.Limits(max_connections=None),
        ) as http,
    ):
        admin = HaproxyClient(config.admin_socket, timeout_s=5.0)
        yield Holding(pid=running.pid, admin=admin, http=http, config=config)


@pytest.fixture
async def edge(folder: Path, replica: FakeReplica) -> AsyncIterator[Holding]:
    """Offer a HAProxy that holds for longer than a test takes."""
    async with holding(folder, replica) as running:
        yield running


@pytest.mark.parametrize("threads", [1, 2])
async def test_held_requests_go_whole_to_the_first_server_that_comes(
    folder: Path, replica: FakeReplica, second: FakeReplica, threads: int
) -> None:
    """All of them, also the largest that HAProxy reads itself."""
    async with holding(folder, replica, threads=threads) as edge:
        waiting = edge.asking(4)
        text = "x" * (WHOLE_BODY_BYTES - 1000)
        waiting.append(asyncio.create_task(edge.ask(number=4, text=text)))
        await edge.until_held(lc1=5)

        await edge.set_state(await edge.add(second), AdminState.READY)
        answers = await asyncio.gather(*waiting)

        assert [answer.status_code for answer in answers] == [200] * 5
        assert await edge.held() == {}
    bodies = [httpx.Response(200, content=each.body).json() for each in second.seen]
    assert sorted(body["number"] for body in bodies) == [0, 1, 2, 3, 4]
    assert [body["text"] == text for body in bodies if "text" in body] == [True]


async def test_models_with_a_server_are_answered_while_others_wait(
    edge: Holding, replica: FakeReplica
) -> None:
    """Nothing of theirs is held."""
    waiting = edge.asking(3)
    await edge.until_held(lc1=3)

    answers = [await edge.ask("m") for _ in range(20)]

    assert [answer.status_code for answer in answers] == [200] * 20
    assert await edge.held() == {"lc1": 3}
    for task in waiting:
        task.cancel()


async def test_no_more_are_held_than_a_pool_may_hold(edge: Holding, second: FakeReplica) -> None:
    """Whoever comes later is told at once to come back; whoever waits goes on waiting."""
    waiting = edge.asking(LONG.pool_max)
    await edge.until_held(lc1=LONG.pool_max)

    refused = await asyncio.gather(*edge.asking(3))

    assert [answer.status_code for answer in refused] == [503] * 3
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    assert refused[0].json()["error"]["code"] == "no_replica_available"
    await edge.set_state(await edge.add(second), AdminState.READY)
    assert [answer.status_code for answer in await asyncio.gather(*waiting)] == [200] * 8


async def test_no_more_are_held_than_all_pools_together_may_hold(edge: Holding) -> None:
    """One model's clients cannot take everything, all models' clients neither."""
    waiting = [*edge.asking(8), *edge.asking(4, "other")]
    await edge.until_held(lc1=8, px0=4)

    refused = await edge.ask("other")

    assert refused.status_code == 503
    assert await edge.held() == {"lc1": 8, "px0": 4}
    for task in waiting:
        task.cancel()


async def test_holding_is_bounded_in_time(folder: Path, replica: FakeReplica) -> None:
    """Then the client is told when to come back, in OpenAI's shape."""
    async with holding(folder, replica, SHORT) as edge:
        answers = await asyncio.gather(*edge.asking(3))

        assert [answer.status_code for answer in answers] == [503] * 3
        assert int(answers[0].headers["retry-after"]) >= 1
        assert answers[0].json()["error"]["code"] == "no_replica_available"
        assert await edge.held() == {}


async def test_no_server_works_for_a_client_that_left_while_it_was_held(
    edge: Holding, second: FakeReplica
) -> None:
    """Whether HAProxy saw it leave or not: what reaches a server is taken back at once."""
    second.script = Script(first_token_s=1.0)
    staying = edge.asking(3)
    leaving = [await edge.connected_asking() for _ in range(5)]
    await edge.until_held(lc1=8)

    for writer in leaving:
        writer.close()
    await edge.set_state(await edge.add(second), AdminState.READY)
    answers = await asyncio.gather(*staying)
    await edge.until_held()

    assert [answer.status_code for answer in answers] == [200] * 3
    assert (second.completed, second.active) == (3, 0)


async def test_a_client_that_left_holds_no_place_for_longer_than_the_limit(
    folder: Path, replica: FakeReplica
) -> None:
    """Its place is free when its hold would have ended, if not before."""
    async with holding(folder, replica, SHORT) as edge:
        leaving = [await edge.connected_asking() for _ in range(5)]
        await edge.until_held(lc1=5)

        for writer in leaving:
            writer.close()

        await edge.until_held()


async def test_large_bodies_are_held_too_and_leave_places_for_others(
    edge: Holding, replica: FakeReplica, second: FakeReplica
) -> None:
    """The body reader has few places for all models, so only some of them wait there."""
    text = "x" * 3_000_000
    async with real_body_reader(edge.config):
        waiting = asyncio.create_task(edge.ask(text=text))
        await edge.until_held(lc1=1)

        refused = await edge.ask(text=text)
        served = await edge.ask("m", text=text)
        await edge.set_state(await edge.add(second), AdminState.READY)
        answer = await waiting

    assert (refused.status_code, served.status_code, answer.status_code) == (503, 200, 200)
    assert httpx.Response(200, content=second.seen[0].body).json()["text"] == text
    assert len(replica.seen) == len(second.seen) == 1


@pytest.mark.parametrize("state", [AdminState.DRAIN, AdminState.MAINT])
async def test_a_server_that_takes_no_requests_is_none(
    edge: Holding, second: FakeReplica, state: AdminState
) -> None:
    """A leaving replica gets nothing more; its model's requests wait for another."""
    ref = await edge.add(second)
    await edge.set_state(ref, state)
    waiting = edge.asking(2)
    await edge.until_held(lc1=2)

    await edge.set_state(ref, AdminState.READY)

    assert [answer.status_code for answer in await asyncio.gather(*waiting)] == [200] * 2


async def test_a_request_in_a_twin_waits_for_a_server_of_the_twin(
    edge: Holding, replica: FakeReplica, second: FakeReplica
) -> None:
    """It counts as held for the main pool: whichever front end it needs, its model is wanted."""
    waiting = edge.asking(2, "split")
    for_python = asyncio.create_task(edge.ask("split", n=2))
    await edge.until_held(lc1=3)

    await edge.set_state(await edge.add(replica, pool="lc1"), AdminState.READY)
    answers = await asyncio.gather(*waiting)
    await edge.until_held(lc1=1)
    await edge.set_state(await edge.add(second, pool="lc1-py"), AdminState.READY)

    assert [answer.json()["replica"] for answer in answers] == ["r1"] * 2
    assert (await for_python).json()["replica"] == "r2"
    assert await edge.held() == {}


async def test_a_server_that_is_down_is_none(edge: Holding, replica: FakeReplica) -> None:
    """Its model's requests wait until its checks find it again."""
    replica.healthy = False

    async def down() -> bool:
        waiting.append(asyncio.create_task(edge.ask("m")))
        return await edge.held() != {}

    waiting: list[asyncio.Task[httpx.Response]] = []
    await eventually(down, what="a server that is down")
    replica.healthy = True
    answers = await asyncio.gather(*waiting)

    assert {answer.status_code for answer in answers} == {200}


async def test_the_first_hold_and_the_last_release_are_told(
    folder: Path, replica: FakeReplica, second: FakeReplica
) -> None:
    """One datagram each, so that whoever reads the numbers need not ask all the time."""
    with told_on(folder / "span.sock") as datagrams:
        async with holding(folder, replica) as edge:
            waiting = edge.asking(3)
            await edge.until_held(lc1=3)
            await edge.set_state(await edge.add(second), AdminState.READY)
            await asyncio.gather(*waiting)

            told = [line.strip() for line in datagrams() if line.startswith(b"held")]
            assert told == [b"held lc1"] * 2


async def test_a_client_that_holds_again_and_again_writes_few_lines(
    folder: Path, replica: FakeReplica, second: FakeReplica
) -> None:
    """Each hold begins and ends alone, and most of them say nothing."""
    with told_on(folder / "span.sock") as datagrams:
        async with holding(folder, replica) as edge:
            server = await edge.add(second)
            began_at = time.monotonic()
            for _ in range(10):
                (waiting,) = edge.asking(1)
                await edge.until_held(lc1=1)
                await edge.set_state(server, AdminState.READY)
                await waiting
                await edge.set_state(server, AdminState.MAINT)
            seconds = time.monotonic() - began_at

            told = [line for line in datagrams() if line.startswith(b"held")]
            assert len(told) <= 2 * (1 + seconds)


async def test_a_haproxy_that_is_replaced_lets_go_of_what_it_holds(edge: Holding) -> None:
    """It would hear of no new server; the client asks again and finds its successor."""
    waiting = edge.asking(3)
    await edge.until_held(lc1=3)

    os.kill(edge.pid, signal.SIGUSR1)
    answers = await asyncio.wait_for(asyncio.gather(*waiting), 10)

    assert [answer.status_code for answer in answers] == [503] * 3


@contextmanager
def told_on(path: Path) -> Iterator[Callable[[], Iterator[bytes]]]:
    """Listen on a datagram socket; what is handed out reads what has come."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as listening:
        listening.bind(str(path))

        def read() -> Iterator[bytes]:
            with suppress(BlockingIOError):
                while True:
                    yield listening.recv(16_384)

        yield read


ERROR = 'SafetensorError: "incomplete" \\ metadata; file not fully covered: 50 % é'


async def fail(edge: Holding, *, next_try_in_s: int | None, error: str = ERROR) -> None:
    """Say that the model of the pool without servers fails, and when it is tried again."""
    at = 0 if next_try_in_s is None else int(time.time()) + next_try_in_s
    entry = ("lc1", failing_value(next_try_at=at, error=error))
    assert isinstance(await edge.admin.replace_map(FAILING_MAP, (entry,)), Ok)


@pytest.mark.parametrize("threads", [1, 2])
async def test_nothing_is_held_for_a_model_that_fails(
    folder: Path, replica: FakeReplica, threads: int
) -> None:
    """The answer says why, in OpenAI's shape whatever the error holds, and when to ask again."""
    async with holding(folder, replica, threads=threads) as edge:
        await fail(edge, next_try_in_s=40)

        answer = await asyncio.wait_for(edge.ask(), 5)
        split = await asyncio.wait_for(edge.ask("split"), 5)
        other = edge.asking(1, "other")
        await edge.until_held(px0=1)
        served = await edge.ask("m")
        await cancel(other)

    assert (answer.status_code, split.status_code, served.status_code) == (503, 503, 200)
    assert answer.json()["error"]["code"] == "model_failing"
    assert f"`empty` does not start: {ERROR}; try again in" in answer.json()["error"]["message"]
    assert 30 <= int(answer.headers["retry-after"]) <= 40


async def test_what_is_held_is_answered_when_the_failure_becomes_known(edge: Holding) -> None:
    """Also a body that came through the body reader's door; nobody waits for the limit."""
    waiting = edge.asking(3)
    await edge.until_held(lc1=3)

    await fail(edge, next_try_in_s=None)
    answers = await asyncio.wait_for(asyncio.gather(*waiting), 5)

    assert {answer.json()["error"]["code"] for answer in answers} == {"model_failing"}
    assert {answer.headers["retry-after"] for answer in answers} == {"10"}
    await edge.until_held()


async def test_a_model_that_fails_no_longer_is_waited_for_again(edge: Holding) -> None:
    """The map is the only thing that says it fails."""
    await fail(edge, next_try_in_s=40)
    refused = await edge.ask()
    assert isinstance(await edge.admin.replace_map(FAILING_MAP, ()), Ok)

    waiting = edge.asking(1)
    await edge.until_held(lc1=1)
    await cancel(waiting)

    assert refused.status_code == 503


async def test_a_replica_that_is_there_answers_whatever_is_said_of_its_model(
    edge: Holding, second: FakeReplica
) -> None:
    """Only a pool without a usable server is looked up: old knowledge stops nobody."""
    await fail(edge, next_try_in_s=40)
    ref = await edge.add(second)
    await edge.set_state(ref, AdminState.READY)

    answer = await edge.ask()

    assert answer.status_code == 200


async def test_a_pause_that_cannot_be_is_not_asked_for(edge: Holding) -> None:
    """The clocks of two machines may differ by hours."""
    await fail(edge, next_try_in_s=40_000)
    far = await edge.ask()
    await fail(edge, next_try_in_s=-40_000)
    past = await edge.ask()

    assert (far.headers["retry-after"], past.headers["retry-after"]) == ("600", "10")


async def cancel(tasks: list[asyncio.Task[httpx.Response]]) -> None:
    """End requests whose answer does not matter."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
