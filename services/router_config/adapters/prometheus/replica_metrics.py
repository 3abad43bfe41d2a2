"""Fetches a replica's metrics for Prometheus: its front ends may be on sockets that it cannot open.

Each front end prints metrics of its own under the same names, so every sample gets the label
`front_end`. Time, size and the number of replicas that are asked at once are bounded.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Final

from libs.contracts.lease import Address, Endpoint, FrontEnd, ReplicaLease, UnixEndpoint
from libs.errors import PeerUnreachableError

FETCH_TIMEOUT_S: Final = 5.0
"""For all front ends of a replica together."""

METRICS_BYTES_MAX: Final = 8 * 1024 * 1024
FETCHES_MAX: Final = 4
"""Replicas that are asked at once; further ones wait, within the same time."""

UP_NAME: Final = "sluice_replica_front_end_up"
_UP_HEAD: Final = (
    f"# HELP {UP_NAME} 1 if the front end gave its metrics, 0 if it did not.\n"
    f"# TYPE {UP_NAME} gauge\n"
)
_ACCEPT: Final = {"Accept": "text/plain; version=0.0.4", "Connection": "close"}
_OK: Final = 200


@dataclass(slots=True)
class _Family:
    """One metric with its description, of whichever front end came first."""

    head: list[str] = field(default_factory=list)
    samples: list[str] = field(default_factory=list)


class ReplicaMetrics:
    """Asks replicas; safe to use from several threads."""

    def __init__(self, *, timeout_s: float = FETCH_TIMEOUT_S) -> None:
        """Ask nothing yet."""
        self._timeout_s = timeout_s
        self._places = threading.BoundedSemaphore(FETCHES_MAX)

    def of(self, lease: ReplicaLease) -> str:
        """Return what a replica's front ends print, merged.

        Raises:
            PeerUnreachableError: none of them answered in time, or too many replicas are asked.
        """
        deadline = time.monotonic() + self._timeout_s
        if not self._places.acquire(timeout=self._timeout_s):
            raise PeerUnreachableError(peer="replica", cause="too many replicas are asked at once")
        try:
            return self._merged(lease, deadline)
        finally:
            self._places.release()

    def _merged(self, lease: ReplicaLease, deadline: float) -> str:
        found: dict[FrontEnd, str] = {}
        failures: list[str] = []
        asked = front_ends(lease)
        for front_end, address in asked.items():
            try:
                found[front_end] = fetch(address, deadline=deadline)
            except PeerUnreachableError as error:
                failures.append(str(error))
        if not found:
            raise PeerUnreachableError(peer=lease.replica_id, cause="; ".join(failures))
        ups = (f'{UP_NAME}{{front_end="{each}"}} {int(each in found)}\n' for each in asked)
        return merge(found) + _UP_HEAD + "".join(ups)


def front_ends(lease: ReplicaLease) -> dict[FrontEnd, Address]:
    """Return where each front end of a replica is."""
    found = {lease.front_end: lease.address, FrontEnd.PYTHON: lease.python_address}
    if lease.front_end is FrontEnd.PYTHON:
        found = {FrontEnd.PYTHON: lease.address}
    return {front_end: address for front_end, address in found.items() if address is not None}


def merge(texts: Mapping[FrontEnd, str]) -> str:
    """Join expositions: every metric once, with the samples of all front ends.

    Source: Prometheus, text-based exposition format 0.0.4.
    """
    families: dict[str, _Family] = {}
    for front_end, text in texts.items():
        _take_in(families, text.splitlines(), front_end)
    return "".join(
        f"{line}\n" for family in families.values() for line in (*family.head, *family.samples)
    )


def _take_in(families: dict[str, _Family], lines: Iterable[str], front_end: FrontEnd) -> None:
    label = f'front_end="{front_end}"'
    described = {name for name, family in families.items() if family.head}
    name = ""
    for line in lines:
        if line.startswith(("# HELP ", "# TYPE ")):
            name = line.split(" ", 3)[2]
            family = families.setdefault(name, _Family())
            if name not in described:
                family.head.append(line)
        elif line and not line.startswith("#"):
            own = line.partition("{")[0].partition(" ")[0]
            name = name if name and own.startswith(name) else own
            families.setdefault(name, _Family()).samples.append(_labelled(line, label))


def _labelled(sample: str, label: str) -> str:
    """Give a sample one more label."""
    name, brace, rest = sample.partition("{")
    if not brace or " " in name:
        name, _, value = sample.partition(" ")
        return f"{name}{{{label}}} {value}"
    return f"{name}{{{label}{'' if rest.startswith('}') else ','}{rest}"


def fetch(address: Address, *, deadline: float) -> str:
    """Return what a front end prints under `/metrics`; `deadline` is monotonic time in seconds.

    Raises:
        PeerUnreachableError: it does not answer in time, says too much or not 200.
    """
    left_s = _left(deadline)
    connection = _Connection(address, timeout_s=left_s)
    # A socket's own limit begins again with each byte.
    cutting = threading.Timer(left_s, connection.cut)
    cutting.daemon = True
    cutting.start()
    try:
        connection.request("GET", "/metrics", headers=_ACCEPT)
        _left(deadline)  # From here on there is a socket to cut.
        body = _body(connection.getresponse(), address)
    except (OSError, HTTPException) as exc:
        raise PeerUnreachableError(peer=str(address), cause=repr(exc)) from exc
    finally:
        cutting.cancel()
        connection.close()
    _left(deadline)  # A connection that was cut looks like one that has ended.
    return body.decode(errors="replace")


def _body(answer: HTTPResponse, address: Address) -> bytes:
    if answer.status != _OK:
        raise PeerUnreachableError(peer=str(address), cause=f"status {answer.status}")
    body = answer.read(METRICS_BYTES_MAX + 1)
    if len(body) > METRICS_BYTES_MAX:
        raise PeerUnreachableError(peer=str(address), cause="too many metrics")
    return body


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise PeerUnreachableError(peer="replica", cause="no answer in time")
    return left


class _Connection(HTTPConnection):
    """A connection to a port or to a unix socket."""

    def __init__(self, address: Address, *, timeout_s: float) -> None:
        host, port = (address.host, address.port) if isinstance(address, Endpoint) else ("r", 80)
        super().__init__(host, port, timeout=timeout_s)
        self._address = address
        self._used: socket.socket | None = None

    def connect(self) -> None:
        """Connect."""
        if isinstance(self._address, UnixEndpoint):
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.settimeout(self.timeout)
            self.sock.connect(self._address.path)
        else:
            super().connect()
        self._used = self.sock

    def cut(self) -> None:
        """End a wait for bytes from another thread; the answer holds the socket after its head."""
        if self._used is not None:
            with suppress(OSError):
                self._used.shutdown(socket.SHUT_RDWR)
