"""A replica with both front ends dies in parts: what its clients see, and what is left running."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from libs.contracts.lease import Address, FrontEnd, ReplicaLease, ReplicaState, UnixEndpoint
from libs.contracts.model_spec import ModelSpec
from libs.contracts.reports import LoadReport
from libs.contracts.subjects import LOAD_SUBJECTS, REPLICAS_BUCKET
from libs.engine.engine_folder import remove_dead
from libs.testing.edge_replica import (
    Replica,
    replica_files,
    running_replica,
    sockets_dir,
    starting_replica,
)
from libs.testing.edge_world import EdgeWorld
from libs.testing.eventually import eventually
from libs.testing.rust_program import needs_rust_program
from libs.testing.tiny_model import words

pytestmark = needs_rust_program()

TOKENS = 300
ENDLESS = 1900
"""Tokens that take 19 s or more, far longer than a test needs to break them off."""

STOPPED = {
    "VLLM::EngineCor": "said nothing",
    "VLLM::Worker": "ended no step",
    "vllm-rs": "has not answered",
}
"""What is stopped, and what the replica then says of it."""

LOADED_WITHIN_S = 60.0
ENDED_WITHIN_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """A stream as its client saw it; `is_broken` where the connection ended before the body."""

    events: tuple[str, ...]
    is_broken: bool

    @property
    def is_complete(self) -> bool:
        """Whether a client takes it for a whole answer."""
        return not self.is_broken and not self.has_error and self.events[-1:] == ("[DONE]",)

    @property
    def has_error(self) -> bool:
        """Whether an event tells an error in OpenAI's shape."""
        found = [json.loads(event) for event in self.events if event.startswith("{")]
        return any("message" in event.get("error", {}) for event in found)


async def stream(
    world: EdgeWorld, front_end: FrontEnd, first_token: asyncio.Event, *, tokens: int
) -> Stream:
    """Read a stream of so many tokens to its end."""
    events: list[str] = []
    with suppress(httpx.TransportError):
        async with world.http.stream(
            "POST", "/v1/chat/completions", json=body(front_end, tokens)
        ) as answer:
            assert answer.status_code == httpx.codes.OK, await answer.aread()
            async for line in answer.aiter_lines():
                if line.startswith("data: "):
                    events.append(line.removeprefix("data: "))
                if '"content":"' in line and '"content":""' not in line:
                    first_token.set()
        return Stream(events=tuple(events), is_broken=False)
    return Stream(events=tuple(events), is_broken=True)


def body(front_end: FrontEnd, tokens: int) -> dict[str, object]:
    """Return a request that the table gives to a front end: a message's name is Python's."""
    for_python = {"name": "somebody"} if front_end is FrontEnd.PYTHON else {}
    return {
        "model": "sim",
        "messages": [{"role": "user", "content": words(5), **for_python}],
        "max_tokens": tokens,
        "ignore_eos": True,
        "stream": True,
    }


def children(pid: int) -> dict[int, str]:
    """Return the living descendants of a process, with their names."""
    found: dict[int, str] = {}
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            with suppress(OSError):
                found[child] = Path(f"/proc/{child}/comm").read_text().strip()
                found |= children(child)
    return found


def alive(pid: int) -> bool:
    """Tell whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def pid_of(replica: Replica, name: str) -> int:
    """Return the replica's descendant whose name begins so."""
    (found,) = (pid for pid, comm in children(replica.started.pid).items() if comm.startswith(name))
    return found


async def both_streams(
    world: EdgeWorld, *, tokens: int = ENDLESS
) -> dict[FrontEnd, asyncio.Task[Stream]]:
    """Begin a stream on each front end, and return when both have their first tokens."""
    begun = {front_end: asyncio.Event() for front_end in FrontEnd}
    tasks = {
        front_end: asyncio.create_task(stream(world, front_end, begun[front_end], tokens=tokens))
        for front_end in FrontEnd
    }
    async with asyncio.timeout(LOADED_WITHIN_S):
        for event in begun.values():
            await event.wait()
    return tasks


async def until_load(world: EdgeWorld, *, running: int, waiting: int) -> None:
    """Wait until the replica reports so many requests in its engine's batch and queue."""
    async with asyncio.timeout(LOADED_WITHIN_S), world.bus.reports(LOAD_SUBJECTS) as reports:
        async for received in reports:
            load = received.value
            assert isinstance(load, LoadReport)
            if (load.running, load.waiting) == (running, waiting):
                return


async def lease_of(world: EdgeWorld, replica: Replica) -> ReplicaLease | None:
    """Read the replica's lease as it is now."""
    entry = await world.bus.get(REPLICAS_BUCKET, f"sim.{replica.lease.replica_id}")
    return entry.value if entry and isinstance(entry.value, ReplicaLease) else None


async def test_both_front_ends_serve_and_drain_ends_no_stream_early(
    world: EdgeWorld, replica: Replica
) -> None:
    """Each stream runs to its end after the replica was asked to leave, and no file is left."""
    files = replica_files(world)
    streams = await both_streams(world, tokens=TOKENS)
    sockets = [socket_of(replica.lease.address), socket_of(replica.lease.python_address)]
    modes = [oct(path.stat().st_mode & 0o777) for path in sockets]

    replica.started.terminate()
    found = {front_end: await task for front_end, task in streams.items()}

    assert replica.lease.front_end is FrontEnd.RUST
    assert {front_end: says_null_fields(each) for front_end, each in found.items()} == {
        FrontEnd.RUST: False,
        FrontEnd.PYTHON: True,
    }
    assert modes == ["0o600", "0o600"]
    assert all(each.is_complete for each in found.values())
    assert {front_end: len(texts(each)) for front_end, each in found.items()} == dict.fromkeys(
        FrontEnd, TOKENS
    )
    assert await asyncio.wait_for(replica.started.wait(), ENDED_WITHIN_S) == 0
    assert {*sockets} < files
    assert left(files) == set()
    assert replica_files(world) == set()


async def test_streams_of_a_dead_engine_never_look_complete(
    world: EdgeWorld, replica: Replica
) -> None:
    """On either front end the client is told by an error event; the replica fails.

    It ends in order, so it removes its files itself.
    """
    files = replica_files(world)
    streams = await both_streams(world)

    os.kill(pid_of(replica, "VLLM::EngineCor"), signal.SIGKILL)
    found = {front_end: await task for front_end, task in streams.items()}

    assert not any(each.is_complete for each in found.values())
    assert all(each.has_error or each.is_broken for each in found.values())
    assert all(len(texts(each)) < ENDLESS for each in found.values())
    assert await asyncio.wait_for(replica.started.wait(), ENDED_WITHIN_S) == 1
    assert left(files | replica_files(world)) == set()


async def test_a_replica_whose_rust_program_dies_fails_and_says_why(
    world: EdgeWorld, replica: Replica
) -> None:
    """Serve then replaces it; nothing of it is left running, and no file is left."""
    files = replica_files(world)
    rust = pid_of(replica, "vllm-rs")
    others = set(children(replica.started.pid)) - {rust}
    streams = await both_streams(world)

    os.kill(rust, signal.SIGKILL)
    broken = await streams[FrontEnd.RUST]
    code = await asyncio.wait_for(replica.started.wait(), ENDED_WITHIN_S)
    streams[FrontEnd.PYTHON].cancel()
    lease = await lease_of(world, replica)

    assert not broken.is_complete
    assert code == 1
    assert lease is None or lease.state is ReplicaState.FAILED
    assert lease is None or "Rust front end ended" in lease.reason
    await eventually_gone(others)
    assert left(files | replica_files(world)) == set()


@pytest.mark.parametrize("stall_timeout_s", [6.0])
async def test_what_waits_in_a_replica_with_a_stopped_part_is_answered_by_another(
    world: EdgeWorld, replica: Replica, spec: ModelSpec
) -> None:
    """A stopped process looks alive to everybody but those who wait for it.

    The replica fails, says why, and ends with all of its processes. No waiting request is lost but
    a stream whose headers the Rust program has sent already, which gets 502.
    """
    assert replica.started.returncode is None
    async with AsyncExitStack() as running:
        starts = (running_replica(world, spec) for _ in STOPPED)
        victims = await asyncio.gather(*map(running.enter_async_context, starts))
        for victim, (name, cause) in zip(victims, STOPPED.items(), strict=True):
            others = set(children(victim.started.pid))
            await warmed_up(victim)
            os.kill(pid_of(victim, name), signal.SIGSTOP)
            wrong, reason = await asked_until_failed(world, victim)

            assert cause in reason, name
            assert all(each.is_never_begun for each in wrong), (name, wrong)
            assert name != "vllm-rs" or wrong == []
            assert await asyncio.wait_for(victim.started.wait(), ENDED_WITHIN_S) == 1, name
            await eventually_gone(others)


async def asked_until_failed(world: EdgeWorld, victim: Replica) -> tuple[list[Missed], str]:
    """Ask in every way, twice, until the replica has failed.

    Returns what clients miss, and why the replica failed.
    """
    ways = [(front_end, stream) for front_end in FrontEnd for stream in (False, True)]
    async with asyncio.TaskGroup() as group:
        asked = [
            group.create_task(what_is_missed(world, front_end, stream=stream))
            for front_end, stream in ways * 2
        ]
        reason = await until_failed(world, victim)
    return [missed for task in asked if (missed := task.result())], reason


async def warmed_up(replica: Replica) -> None:
    """Have the replica's engine end its first step, which may take longer than any other."""
    transport = httpx.AsyncHTTPTransport(uds=str(socket_of(replica.lease.address)))
    async with httpx.AsyncClient(transport=transport, base_url="http://replica") as client:
        answer = await client.post(
            "/v1/completions", json={"model": "sim", "prompt": words(5), "max_tokens": 2}
        )
    assert answer.is_success, answer.text


@dataclass(frozen=True, slots=True, kw_only=True)
class Missed:
    """What a client got where it should have got a whole answer."""

    front_end: FrontEnd
    stream: bool
    status: int
    text: str

    @property
    def is_never_begun(self) -> bool:
        """Whether it is a stream of the Rust program that ended before its first token."""
        is_rust_stream = self.front_end is FrontEnd.RUST and self.stream
        return is_rust_stream and self.status == httpx.codes.BAD_GATEWAY and "error" in self.text


async def what_is_missed(world: EdgeWorld, front_end: FrontEnd, *, stream: bool) -> Missed | None:
    """Ask for a short text; None if all of it came."""
    asked = {**body(front_end, 10), "stream": stream}
    answer = await world.http.post("/v1/chat/completions", json=asked)
    whole = answer.text.rstrip().endswith("data: [DONE]") if stream else "choices" in answer.text
    if answer.status_code == httpx.codes.OK and whole and '"error"' not in answer.text:
        return None
    return Missed(front_end=front_end, stream=stream, status=answer.status_code, text=answer.text)


async def until_failed(world: EdgeWorld, replica: Replica) -> str:
    """Wait until the replica's lease says that it failed; returns why."""
    async with asyncio.timeout(ENDED_WITHIN_S):
        while True:
            lease = await lease_of(world, replica)
            if lease is not None and lease.state is ReplicaState.FAILED:
                return lease.reason
            await asyncio.sleep(0.1)


async def test_nothing_outlives_a_replica_that_is_killed(
    world: EdgeWorld, replica: Replica
) -> None:
    """Neither the Rust program nor the engine core nor its workers, with a stream under way.

    A stopped engine core can do nothing about it itself. The files are known by their folder,
    whose lock ended with the replica.
    """
    files = replica_files(world)
    streams = await both_streams(world)
    others = set(children(replica.started.pid))
    assert len(others) >= 2
    os.kill(pid_of(replica, "VLLM::EngineCor"), signal.SIGSTOP)

    replica.started.kill()

    await eventually_gone(others)
    found = [await task for task in streams.values()]
    assert not any(each.is_complete for each in found)
    remove_dead(sockets_dir(world))
    assert left(files | replica_files(world)) == set()


async def test_the_next_replica_removes_what_is_left_and_leaves_nothing_of_its_own_start(
    world: EdgeWorld, replica: Replica, spec: ModelSpec
) -> None:
    """All processes of the first are killed, and with them Python's resource tracker.

    The next removes its files, shared memory as well. It is asked to leave while its engine starts:
    the start is not waited for, and no process and no file is left.
    """
    files = replica_files(world)

    async def engine_starts() -> bool:
        return any(path.name == "vllm-rs-tied" for path in replica_files(world) - files)

    os.killpg(replica.started.pid, signal.SIGKILL)
    await replica.started.wait()
    stayed = left(files)
    async with starting_replica(world, spec) as started:
        await eventually(engine_starts, within_s=60, what="the start of an engine")
        await asyncio.sleep(1)
        found, others = left(files), set(children(started.pid))
        started.terminate()
        code = await asyncio.wait_for(started.wait(), ENDED_WITHIN_S)
        await eventually_gone(others)

        assert stayed == files
        assert found == set()
        assert code == 0
        assert others
        assert replica_files(world) == set()


async def test_a_higher_priority_overtakes_what_waits_in_a_full_engine(
    world: EdgeWorld, replica: Replica
) -> None:
    """Two run, two of low priority wait, and one of high priority that comes last runs next."""
    ended = {
        front_end: await order_of_priorities(world, address)
        for front_end, address in (
            (FrontEnd.RUST, replica.lease.address),
            (FrontEnd.PYTHON, replica.lease.python_address),
        )
    }

    assert ended == {front_end: ["high", "low", "low"] for front_end in FrontEnd}


async def order_of_priorities(world: EdgeWorld, address: Address | None) -> list[str]:
    """Fill an engine through one front end; returns who was served in which order."""
    ended: list[str] = []
    transport = httpx.AsyncHTTPTransport(uds=str(socket_of(address)))
    async with (
        httpx.AsyncClient(transport=transport, base_url="http://replica", timeout=60) as client,
        asyncio.TaskGroup() as group,
    ):

        async def ask(name: str, priority: int, tokens: int) -> None:
            asked = {"model": "sim", "prompt": words(5), "max_tokens": tokens, "ignore_eos": True}
            headers = {"x-vllm-priority": str(priority)}
            answer = await client.post("/v1/completions", json=asked, headers=headers)
            assert answer.is_success, answer.text
            ended.append(name)

        first = [group.create_task(ask("first", 0, ENDLESS)) for _ in range(2)]
        await until_load(world, running=2, waiting=0)
        for _ in range(2):
            group.create_task(ask("low", 1, 100))
        await until_load(world, running=2, waiting=2)
        group.create_task(ask("high", -1, 5))
        await until_load(world, running=2, waiting=3)
        for task in first:
            task.cancel()
    return ended


def socket_of(address: Address | None) -> Path:
    """Return the path of a socket."""
    assert isinstance(address, UnixEndpoint)
    return Path(address.path)


def texts(found: Stream) -> list[str]:
    """Return the stream's pieces of text."""
    trees = [json.loads(event) for event in found.events if event.startswith('{"id"')]
    pieces = [tree["choices"][0]["delta"].get("content") for tree in trees if tree["choices"]]
    return [piece for piece in pieces if piece]


def says_null_fields(found: Stream) -> bool:
    """Tell the Python front end, which writes fields that are null, from the Rust one."""
    return '"logprobs":null' in found.events[0]


def left(files: set[Path]) -> set[Path]:
    """Return the files that are still there."""
    return {path for path in files if path.exists()}


async def eventually_gone(pids: set[int]) -> None:
    """Wait until none of these processes runs."""

    async def gone() -> bool:
        return not any(map(alive, pids))

    await eventually(gone, within_s=ENDED_WITHIN_S, what="the end of every process")
