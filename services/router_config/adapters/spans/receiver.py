"""Receives the span log on a unix datagram socket; what nobody takes in time HAProxy drops."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from opentelemetry.sdk.trace import ReadableSpan

from libs.haproxy.hold import HELD_LINE
from libs.telemetry.logging import get_logger
from services.router_config.adapters.spans.codec import (
    BadSpanLineError,
    EdgeIdentity,
    parse_line,
    to_span,
)

DATAGRAM_BYTES_MAX: Final = 16 * 1024
BATCH_MAX: Final = 256
"""Datagrams read at once, so that a flood of them leaves the loop some time."""

RECEIVE_BUFFER_BYTES: Final = 4 * 1024 * 1024

_HELD_LINE: Final = HELD_LINE.encode()

_log = get_logger(__name__)


class SpanReceiver:
    """Hands each traced request's span on; unreadable lines are counted and left out."""

    def __init__(
        self,
        path: Path,
        identity: EdgeIdentity,
        deliver: Callable[[ReadableSpan], None],
        *,
        on_hold: Callable[[], None],
    ) -> None:
        """Take where to listen, whom to hand spans to, and whom to wake when holding changes."""
        self._path = path
        self._identity = identity
        self._resource = identity.resource()
        self._deliver = deliver
        self._on_hold = on_hold
        self._socket: socket.socket | None = None
        self.unreadable_count = 0

    def open(self) -> None:
        """Listen, in place of whoever listened before."""
        with suppress(FileNotFoundError):
            self._path.unlink()
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        listening.bind(str(self._path))
        self._path.chmod(0o600)
        self._socket = listening
        asyncio.get_running_loop().add_reader(listening, self._on_readable, listening)

    def close(self) -> None:
        """Stop listening; what is still unread is lost."""
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
            return
        try:
            span = to_span(parse_line(datagram), self._identity, self._resource)
        except (BadSpanLineError, ValueError) as error:
            self.unreadable_count += 1
            if self.unreadable_count == 1:
                _log.warning("span_line_unreadable", error=str(error))
            return
        self._deliver(span)
