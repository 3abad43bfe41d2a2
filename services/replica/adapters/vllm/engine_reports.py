"""Receives what the engine core reports: its load, and the requests whose traces are sampled.

The kernel's queue of datagrams is the only one: while spans are written, further reports wait
there, and behind it in the engine core, which drops and counts what it cannot keep.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from libs.contracts.lease import FrontEnd
from libs.telemetry.finished_span import FinishedSpan
from libs.telemetry.logging import get_logger
from services.replica.adapters.vllm.engine_spans import Engine, RequestSpans
from services.replica.adapters.vllm.report_codec import EngineLoad, EngineRequests, decode
from services.replica.domain.load import Load
from services.replica.domain.load_gauge import EngineTotals, LoadGauge
from services.replica.domain.stall import StallWatch

SOCKET_VARIABLE: Final = "SLUICE_ENGINE_REPORTS"
"""Tells the engine core where to send; the plugin in `libs/engine/plugin` reads it."""

DATAGRAM_BYTES_MAX: Final = 65_536
BATCH_DATAGRAMS_MAX: Final = 16
SOCKET_MODE: Final = 0o600

Record = Callable[[Sequence[FinishedSpan]], None]

_log = get_logger(__name__)


class EngineReports:
    """Reads the reports of one engine.

    Attributes:
        socket_path: what the engine core's environment must name as `SLUICE_ENGINE_REPORTS`.
        rejected_count: datagrams that could not be read.
    """

    def __init__(
        self, engine: Engine, record: Record | None, socket_path: Path, *, stall_timeout_s: float
    ) -> None:
        """Make the spans of an engine's requests; with None nothing records them."""
        self.socket_path = socket_path
        self.rejected_count = 0
        self._engine = engine
        self._spans = RequestSpans(engine, new_id=_new_span_id)
        self._record = record
        self._gauge = LoadGauge(time.monotonic())
        self._stall = StallWatch(stall_timeout_s, time.monotonic())
        self._is_reading = False

    @property
    def environment(self) -> dict[str, str]:
        """What to set before the engine core starts."""
        return {SOCKET_VARIABLE: str(self.socket_path)}

    def serve_through(self, front_ends: Mapping[int, FrontEnd]) -> None:
        """Say which front end has which client number, once that is known."""
        engine = replace(self._engine, front_ends=front_ends)
        self._spans = RequestSpans(engine, new_id=_new_span_id)

    @property
    def totals(self) -> EngineTotals | None:
        """What the engine core last said; None before the first report."""
        return self._gauge.last

    def load(self) -> Load:
        """End the present slice of time and return the load over the window."""
        load = self._gauge.read(time.monotonic())
        if load.lost_reports_count is None:
            return load
        return replace(load, lost_reports_count=load.lost_reports_count + self.rejected_count)

    def stall(self, *, is_excused: bool) -> str | None:
        """Say in which way the engine core is stuck; ask it often (see `StallWatch.look`).

        This is unknown while its reports are not being read, for example during an export of spans.
        """
        is_excused = is_excused or not self._is_reading
        return self._stall.look(time.monotonic(), is_excused=is_excused)

    async def receive(self, reports: socket.socket) -> None:
        """Read reports until this is cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            self._is_reading = True
            try:
                first = await loop.sock_recv(reports, DATAGRAM_BYTES_MAX)
            finally:
                self._is_reading = False
            ended = self._take((first, *_waiting(reports)))
            if ended and self._record is not None:
                await asyncio.to_thread(self._write, ended, self._record)

    def _take(self, datagrams: Sequence[bytes]) -> list[EngineRequests]:
        ended = []
        for datagram in datagrams:
            try:
                report = decode(datagram)
            except ValueError as exc:
                self.rejected_count += 1
                _log.warning("engine_report_rejected", error=str(exc))
                continue
            match report:
                case EngineLoad():
                    self._gauge.add(report.totals(), time.monotonic())
                    self._stall.saw(report.progress())
                case EngineRequests():
                    ended.append(report)
        return ended

    def _write(self, ended: Sequence[EngineRequests], record: Record) -> None:
        spans = [
            span
            for report in ended
            for request in report.requests
            for span in self._spans.of(request, report.clock_offset_s)
        ]
        if spans:
            record(spans)


@asynccontextmanager
async def engine_reports(
    folder: Path, engine: Engine, record: Record | None, *, stall_timeout_s: float
) -> AsyncIterator[EngineReports]:
    """Receive an engine's reports on a socket in its folder while the body runs.

    Start the engine core in the body, with `EngineReports.environment`.

    Raises:
        OSError: the folder cannot hold a socket, or the path is longer than 107 bytes.
    """
    path = folder / "reports.sock"
    with _bound(path) as reports_socket:
        reports = EngineReports(engine, record, path, stall_timeout_s=stall_timeout_s)
        receiving = asyncio.create_task(  # tidy: allow orphan-task - ended below
            reports.receive(reports_socket)
        )
        receiving.add_done_callback(_log_failure)
        try:
            yield reports
        finally:
            receiving.cancel()
            await asyncio.wait([receiving])


def _log_failure(receiving: asyncio.Task[None]) -> None:
    """Say why no report is read any more; serving goes on, and the load becomes unknown."""
    if not receiving.cancelled():
        _log.error("engine_reports_ended", error=repr(receiving.exception()))


@contextmanager
def _bound(path: Path) -> Iterator[socket.socket]:
    """Bind a datagram socket that only this user can write to; its file goes with it."""
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as bound:
        os.fchmod(bound.fileno(), SOCKET_MODE)
        bound.bind(str(path))
        try:
            yield bound
        finally:
            path.unlink(missing_ok=True)


def _waiting(reports: socket.socket) -> Iterator[bytes]:
    """Read the datagrams that are there already, up to a batch."""
    for _ in range(BATCH_DATAGRAMS_MAX - 1):
        try:
            yield reports.recv(DATAGRAM_BYTES_MAX)
        except BlockingIOError:
            return


def _new_span_id() -> str:
    return f"{random.getrandbits(64) or 1:016x}"
