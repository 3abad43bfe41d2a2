"""The replica's side of the engine core's reports, over a real socket."""

from __future__ import annotations

import asyncio
import json
import socket
import stat
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from libs.contracts.lease import FrontEnd
from libs.telemetry.finished_span import FinishedSpan
from libs.testing.eventually import eventually
from libs.testing.real_haproxy import short_folder
from services.replica.adapters.vllm.engine_reports import EngineReports, engine_reports
from services.replica.adapters.vllm.engine_spans import Engine
from services.replica.domain.load import UNKNOWN_LOAD

ENGINE = Engine(model="m", front_ends={0: FrontEnd.RUST})
LOAD = {
    "schema": "engine.load.v1",
    "wall_s": 1_000.0,
    "monotonic_s": 10.0,
    "steps": 9,
    "unfinished": 4,
    "unread": 0,
    "running": 3,
    "waiting": 0,
    "kv_cache_usage_ratio": 0.5,
    "prompt_tokens": 7,
    "generated_tokens": 5,
    "prefix_queries": 7,
    "prefix_hits": 0,
    "first_token_latencies_s": [],
    "dropped_count": 0,
    "failed_count": 0,
    "lost_load_count": 0,
}
REQUEST = {
    "id": f"chatcmpl-{'a' * 32}-{'b' * 16}-01-01234567",
    "client": 0,
    "status": "FINISHED_STOPPED",
    "arrival_s": 999.0,
    "queued_s": 9.0,
    "scheduled_s": 9.1,
    "first_token_s": 9.2,
    "ended_s": 9.3,
    "prompt_tokens": 7,
    "output_tokens": 5,
    "cached_tokens": 0,
    "preemptions": 0,
    "priority": 0,
    "adapter": "",
}


@pytest.fixture(name="folder")
def _folder() -> Iterator[Path]:
    with short_folder() as folder:
        yield folder


def requests(count: int) -> dict[str, object]:
    """Return a report of requests that ended."""
    clocks = {"wall_s": 1_000.0, "monotonic_s": 10.0}
    return {"schema": "engine.requests.v1", **clocks, "requests": [REQUEST] * count}


async def send(reports: EngineReports, *datagrams: bytes | dict[str, object]) -> None:
    """Send as an engine core does, which waits for room."""
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as sender:
        sender.connect(str(reports.socket_path))
        for each in datagrams:
            body = each if isinstance(each, bytes) else json.dumps(each).encode()
            await asyncio.to_thread(sender.send, body)


async def until_load(reports: EngineReports) -> None:
    """Wait for a report of the load."""

    async def known() -> bool:
        return reports.totals is not None

    await eventually(known, within_s=5)


async def test_only_this_user_can_send_and_the_socket_goes_with_the_replica(folder: Path) -> None:
    """A report must not come from elsewhere."""
    async with engine_reports(folder, ENGINE, None, stall_timeout_s=30.0) as reports:
        mode = reports.socket_path.stat().st_mode

        assert stat.S_ISSOCK(mode)
        assert stat.S_IMODE(mode) == 0o600
        assert reports.environment == {"SLUICE_ENGINE_REPORTS": str(reports.socket_path)}
    assert not reports.socket_path.exists()


async def test_a_socket_that_a_killed_replica_left_is_replaced(folder: Path) -> None:
    """Its name is the new replica's only if the folder and the name are."""
    (folder / "engine.e.sock").touch()

    async with engine_reports(folder, ENGINE, None, stall_timeout_s=30.0) as reports:
        await send(reports, LOAD)

        await until_load(reports)


async def test_the_load_is_unknown_until_the_engine_core_speaks(folder: Path) -> None:
    """An engine that starts is not idle."""
    async with engine_reports(folder, ENGINE, None, stall_timeout_s=30.0) as reports:
        assert reports.load() == UNKNOWN_LOAD

        await send(reports, LOAD)
        await until_load(reports)

        assert reports.load().running == 3


async def test_every_request_is_recorded_whatever_else_arrives(folder: Path) -> None:
    """More datagrams than the kernel queues, bad ones among them."""
    spans: list[FinishedSpan] = []
    async with engine_reports(folder, ENGINE, spans.extend, stall_timeout_s=30.0) as reports:
        for _ in range(40):
            await send(reports, requests(2), b"no report")
        await send(reports, LOAD)
        await until_load(reports)

        async def recorded() -> bool:
            return len(spans) == 40 * 2 * 5

        await eventually(recorded, within_s=5)
        load = reports.load()

    assert (reports.rejected_count, load.lost_reports_count) == (40, 40)
    assert len({span.span_id for span in spans}) == len(spans)


async def test_an_engine_core_that_falls_silent_is_stuck(folder: Path) -> None:
    """It reports every second, whatever it does."""
    async with engine_reports(folder, ENGINE, None, stall_timeout_s=0.2) as reports:
        await eventually(lambda: unstuck(reports), within_s=1, what="no report at all")
        await send(reports, LOAD)
        await until_load(reports)

        async def stuck() -> bool:
            return reports.stall(is_excused=False) is not None

        await eventually(stuck, within_s=10, what="silence")
        await send(reports, {**LOAD, "steps": 10})
        await eventually(lambda: unstuck(reports), within_s=10, what="a word")


async def test_reports_that_nobody_reads_are_no_silence(folder: Path) -> None:
    """A disk that holds up the spans says nothing about the engine."""
    writes, may_go_on = threading.Event(), threading.Event()

    def record(_: Sequence[FinishedSpan]) -> None:
        writes.set()
        may_go_on.wait(30)

    async with engine_reports(folder, ENGINE, record, stall_timeout_s=0.2) as reports:
        await send(reports, LOAD, requests(1))
        await asyncio.to_thread(writes.wait, 30)
        looks = []
        for _ in range(20):
            looks.append(reports.stall(is_excused=False))
            await asyncio.sleep(0.03)
        may_go_on.set()

    assert reports.totals is not None
    assert set(looks) == {None}


async def unstuck(reports: EngineReports) -> bool:
    """Tell whether the engine core is not known to be stuck."""
    return reports.stall(is_excused=False) is None
