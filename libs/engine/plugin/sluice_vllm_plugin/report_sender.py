"""Sends what was seen to the replica, as datagrams, from a thread that does nothing else.

The scheduler's thread never touches the socket. Sending never blocks: the kernel queues few
datagrams (`net.unix.max_dgram_qlen`, 10 by default), so many records travel in one, and records
that do not fit wait in `EngineWatch.pending`, which is bounded.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from enum import Enum, auto
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sluice_vllm_plugin.engine_watch import EngineWatch, Record

LOAD_SCHEMA = "engine.load.v1"
REQUESTS_SCHEMA = "engine.requests.v1"

PERIOD_S = 1.0
"""How often the load is sent, and the records with it."""

RECORDS_PER_DATAGRAM_MAX = 32
"""About 15 kB."""

TRIES_PER_PERIOD = 20
RETRY_S = 0.01
"""How long to wait for a reader that falls behind; what is left is sent in the next period."""

THREAD_NAME = "sluice-engine-reports"


class _Outcome(Enum):
    SENT = auto()
    NO_ROOM = auto()
    NO_READER = auto()


class ReportSender:
    """Sends reports of one engine to one address."""

    def __init__(self, watch: EngineWatch, address: str) -> None:
        """Send to a unix datagram socket, which need not be there yet."""
        self._watch = watch
        self._address = address
        self._lock = threading.Lock()
        self._lost_load_count = 0
        self._is_started = False

    def start(self) -> None:
        """Send every second from here on, until the process ends; safe to repeat."""
        if not self._is_started:
            self._is_started = True
            threading.Thread(target=self._run, name=THREAD_NAME, daemon=True).start()

    def send_all(self) -> None:
        """Send the load and every record that the reader has room for."""
        with self._lock:
            self._send_load()
            self._send_records()

    def close(self) -> None:
        """Send nothing more."""
        self._socket.close()

    @cached_property
    def _socket(self) -> socket.socket:
        """Opened by the first report: front ends and workers have a sender too, and never send."""
        return socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)

    def _send_load(self) -> None:
        load = {**self._watch.load(), "lost_load_count": self._lost_load_count}
        if self._send(LOAD_SCHEMA, load) is not _Outcome.SENT:
            self._lost_load_count += 1

    def _send_records(self) -> None:
        pending, tries = self._watch.pending, TRIES_PER_PERIOD
        while pending and tries > 0:
            some = min(len(pending), RECORDS_PER_DATAGRAM_MAX)
            records = [pending.popleft() for _ in range(some)]
            outcome = self._send(REQUESTS_SCHEMA, {"requests": records})
            if outcome is _Outcome.SENT:
                continue
            pending.extendleft(reversed(records))
            if outcome is _Outcome.NO_READER:
                return
            tries -= 1
            time.sleep(RETRY_S)

    def _run(self) -> None:
        while True:
            time.sleep(PERIOD_S)
            self.send_all()

    def _send(self, schema: str, body: Record) -> _Outcome:
        clocks = {"schema": schema, "wall_s": time.time(), "monotonic_s": time.monotonic()}
        datagram = json.dumps({**clocks, **body}, separators=(",", ":")).encode()
        try:
            self._socket.sendto(datagram, self._address)
        except BlockingIOError:
            return _Outcome.NO_ROOM
        except OSError:
            return _Outcome.NO_READER
        return _Outcome.SENT
