"""Receives the span log on a unix datagram socket; what nobody takes in time HAProxy drops."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final, Never

from libs.contracts.lease import FrontEnd
from libs.haproxy.config import TWIN_SUFFIX
from libs.haproxy.hold import HELD_LINE
from libs.telemetry.finished_span import FinishedSpan
from libs.telemetry.logging import get_logger
from services.router_config.adapters.spans.codec import (
    BadSpanLineError,
    EdgeIdentity,
    SpanLine,
    parse_line,
    to_span,
)
from services.router_config.adapters.spans.sink import SpanSink

DATAGRAM_BYTES_MAX: Final = 16 * 1024
BATCH_MAX: Final = 256
"""Datagrams read at once, so that a flood of them leaves the loop some time."""

FLUSH_S: Final = 0.5
SPANS_AT_ONCE_MAX: Final = 512

RECEIVE_BUFFER_BYTES: Final = 4 * 1024 * 1024

_HELD_LINE: Final = HELD_LINE.encode()

_log = get_logger(__name__)


class SpanReceiver:
    """Hands on the spans of traced requests; unreadable lines are counted and left out.

    Spans are handed on together: a line of a file costs as much as making several spans.
    """

    def __init__(
        self,
        path: Path,
        identity: EdgeIdentity,
        sink: SpanSink | None,
        *,
        front_end_of: Callable[[str], str | None],
        on_hold: Callable[[], None],
    ) -> None:
        """Take where to listen, what to give spans to, and what to wake when holding changes.

        `front_end_of` names the front end behind a server of a main pool.
        """
        self._path = path
        self._identity = identity
        self._sink = sink
        self._front_end_of = front_end_of
        self._on_hold = on_hold
        self._socket: socket.socket | None = None
        self._is_away = False
        self._spans: list[FinishedSpan] = []
        self._flushing: asyncio.TimerHandle | None = None
        self.unreadable_count = 0

    def open(self) -> None:
        """Listen, in place of an earlier listener.

        Where the socket cannot be made, on a full disk for one, `keep_open` tries again.
        """
        try:
            self._open()
        except OSError as error:
            if not self._is_away:
                _log.error("span_socket_unavailable", path=str(self._path), error=str(error))
            self._is_away = True
        else:
            self._is_away = False

    async def keep_open(self, *, every_s: float) -> Never:
        """Look this often whether the socket is there, and make it again if it is not."""
        while True:
            await asyncio.sleep(every_s)
            if self._socket is None or not self._path.exists():
                self.close()
                self.open()

    def _open(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._path.unlink(missing_ok=True)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
            listening.bind(str(self._path))
            self._path.chmod(0o600)
        except OSError:
            listening.close()
            raise
        self._socket = listening
        asyncio.get_running_loop().add_reader(listening, self._on_readable, listening)

    def close(self) -> None:
        """Hand on what was read, and stop listening; what is still unread is lost."""
        self._flush()
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    def _on_readable(self, listening: socket.socket) -> None:
        for _ in range(BATCH_MAX):
            try:
                datagram = listening.recv(DATAGRAM_BYTES_MAX)
            except BlockingIOError:
                return
            self._take(datagram)

    def _take(self, datagram: bytes) -> None:
        if datagram.startswith(_HELD_LINE):
            self._on_hold()
        elif self._sink is not None:
            try:
                self._spans.append(self._span(parse_line(datagram)))
            except (BadSpanLineError, ValueError) as error:
                self._count_unreadable(error)
                return
            self._flush_soon()

    def _span(self, line: SpanLine) -> FinishedSpan:
        is_python = line.pool.endswith(TWIN_SUFFIX)
        front_end = FrontEnd.PYTHON if is_python else self._front_end_of(line.server)
        return to_span(line, self._identity, front_end=front_end)

    def _flush_soon(self) -> None:
        if len(self._spans) >= SPANS_AT_ONCE_MAX:
            self._flush()
        elif self._flushing is None:
            loop = asyncio.get_running_loop()
            self._flushing = loop.call_later(FLUSH_S, self._flush)

    def _flush(self) -> None:
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        spans, self._spans = self._spans, []
        if spans and self._sink is not None:
            self._sink(spans)

    def _count_unreadable(self, error: Exception) -> None:
        self.unreadable_count += 1
        if self.unreadable_count == 1:
            _log.warning("span_line_unreadable", error=str(error))
