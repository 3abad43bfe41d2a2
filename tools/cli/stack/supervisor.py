"""Talk to supervisord over its unix socket (XML-RPC)."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xmlrpc.client import Fault, ServerProxy

from supervisor.xmlrpc import SupervisorTransport

from libs.errors import PeerUnreachableError

_START_S: Final = 10.0
_ANSWER_S: Final = 5.0
_STOPPED_S: Final = 120.0
"""supervisord answers at once, but for a program's end: it kills those that take too long."""
_POLL_S: Final = 0.05
_FAULT_NOT_RUNNING: Final = 70
_FAULT_ALREADY_STARTED: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramState:
    """One program as supervisord sees it; `state` is one of its own state names."""

    name: str
    state: str
    pid: int
    exit_code: int


class Supervisor:
    """A running supervisord."""

    def __init__(self, path: Path, *, answer_s: float = _ANSWER_S) -> None:
        """Remember the socket's path, and how long an answer may take; nothing is opened yet."""
        self._socket = path
        self._answer_s = answer_s

    def launch(self, config: Path, environment: Mapping[str, str]) -> None:
        """Start supervisord as a daemon and wait until it answers.

        It looks after programs that an earlier one left running once they are started again.

        Raises:
            PeerUnreachableError: it did not come up.
        """
        command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(config)]
        try:
            subprocess.run(command, check=True, env=dict(environment), timeout=_START_S)
        except (subprocess.SubprocessError, OSError) as exc:
            raise PeerUnreachableError(peer="supervisord", cause=str(exc)) from exc
        deadline = time.monotonic() + _START_S
        while not self.alive():
            if time.monotonic() > deadline:
                raise PeerUnreachableError(peer="supervisord", socket=self._socket)
            time.sleep(_POLL_S)

    def alive(self) -> bool:
        """Tell whether it answers."""
        try:
            self._call("getState")
        except (OSError, PeerUnreachableError):
            return False
        return True

    def start(self, program: str) -> None:
        """Start a program and return without waiting; one that runs already is left alone."""
        self._call("startProcess", program, False, tolerated=_FAULT_ALREADY_STARTED)

    def stop(self, program: str) -> None:
        """Stop a program and wait until it has ended; one that does not run is no error."""
        self._call("stopProcess", program, True, tolerated=_FAULT_NOT_RUNNING, timeout_s=_STOPPED_S)

    def shutdown(self) -> None:
        """Stop everything and supervisord itself; returns at once."""
        self._call("shutdown")

    def states(self) -> list[ProgramState]:
        """List all programs."""
        rows = self._call("getAllProcessInfo")
        if not isinstance(rows, list):
            raise PeerUnreachableError(peer="supervisord", answer=str(rows)[:80])
        return [_state(row) for row in rows]

    def _call(
        self,
        method: str,
        *arguments: object,
        tolerated: int | None = None,
        timeout_s: float | None = None,
    ) -> object:
        transport = SupervisorTransport(None, None, f"unix://{self._socket}")
        try:
            with (
                _sockets_wait(timeout_s or self._answer_s),
                ServerProxy("http://127.0.0.1", transport=transport, allow_none=True) as server,
            ):
                result: object = getattr(server.supervisor, method)(*arguments)
                return result
        except Fault as fault:
            if fault.faultCode == tolerated:
                return None
            raise PeerUnreachableError(
                peer="supervisord", call=method, fault=fault.faultString
            ) from fault


@contextmanager
def _sockets_wait(timeout_s: float) -> Iterator[None]:
    """Bound what is done with sockets made meanwhile: supervisor's own transport has no limit."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(timeout_s)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _state(row: dict[str, object]) -> ProgramState:
    return ProgramState(
        name=str(row["name"]),
        state=str(row["statename"]),
        pid=int(str(row["pid"])),
        exit_code=int(str(row["exitstatus"])),
    )
