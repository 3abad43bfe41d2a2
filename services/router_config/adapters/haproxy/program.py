"""HAProxy's process: started in a session of its own, adopted again, watched, replaced, stopped.

It outlives router-config, so it is never a child that somebody waits for: a pidfd tells its end.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

from libs.errors import PeerUnreachableError, TransientError, UsageError
from libs.haproxy.client import HaproxyClient
from libs.haproxy.commands import ShowInfo
from libs.haproxy.config import BASE_FILE, POOLS_FILE
from libs.haproxy.tables import parse_info

LOG_BYTES_MAX: Final = 16 * 1024 * 1024
_POLL_S: Final = 0.02
_TERMINATE_S: Final = 2.0


class HaproxyStartError(TransientError):
    """HAProxy did not come up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """How to start a HAProxy.

    Attributes:
        state_dir: where its configuration and maps are.
        pid_file: where the pid of the one that serves is kept.
        api: host and port on which it serves; probed before a first start.
        start_timeout_s: how long it may take until its admin socket answers.
        environment: all that it gets of one.
    """

    binary: Path
    state_dir: Path
    admin_socket: Path
    pid_file: Path
    log_file: Path
    api: tuple[str, int]
    start_timeout_s: float
    environment: Mapping[str, str] = field(default_factory=dict)

    def arguments(self, *, replace: int | None) -> list[str]:
        """Return the command line; with `replace`, listeners come from that process."""
        files = ["-C", str(self.state_dir), "-f", BASE_FILE, "-f", POOLS_FILE]
        takeover = ["-x", str(self.admin_socket), "-sf", str(replace)] if replace else []
        return [str(self.binary), "-db", *files, *takeover]


class HaproxyProgram:
    """The one HAProxy that serves."""

    def __init__(self, launch: Launch, client: HaproxyClient) -> None:
        """Know how to start; nothing runs yet."""
        self._launch = launch
        self._client = client
        self._wake: Callable[[], None] = _nothing
        self._pidfd: int | None = None
        self._pid: int | None = None
        self._gone = asyncio.Event()

    def running(self) -> int | None:
        """Return the pid of the one that serves; None when it ended."""
        return self._pid

    def on_end(self, wake: Callable[[], None]) -> None:
        """Call back as soon as it ends."""
        self._wake = wake

    async def adopt(self) -> int | None:
        """Take over the one whose admin socket answers; end one that serves without a socket."""
        pid = await self._answering()
        if pid is not None:
            self._watch(pid)
            return pid
        await self._end_stray()
        return None

    async def start(self, *, replace: int | None = None) -> int:
        """Start one from the state on disk and return its pid once it answers.

        Raises:
            UsageError: somebody else listens on the port.
            HaproxyStartError: it ended at once or did not answer in time.
        """
        if replace is None:
            _require_free(*self._launch.api)
        self._unwatch()
        pid = self._spawn(replace)
        if replace is None:
            self._note(pid)
        try:
            async with asyncio.timeout(self._launch.start_timeout_s):
                await self._until_answering(pid)
        except TimeoutError as exc:
            _kill_child(pid)
            raise HaproxyStartError(why="no answer in time", log=self._last_words()) from exc
        self._note(pid)
        self._watch(pid)
        return pid

    async def stop(self, *, timeout_s: float) -> None:
        """Ask for a soft stop, then terminate, then kill."""
        for number, limit_s in (
            (signal.SIGUSR1, timeout_s),
            (signal.SIGTERM, _TERMINATE_S),
            (signal.SIGKILL, _TERMINATE_S),
        ):
            if self._pid is None:
                return
            _send(self._pid, number)
            with suppress(TimeoutError):
                async with asyncio.timeout(limit_s):
                    await self._gone.wait()

    def close(self) -> None:
        """Stop watching; the program goes on."""
        self._unwatch()

    async def _until_answering(self, pid: int) -> None:
        while await self._answering() != pid:
            code = _exit_code(pid)
            if code is not None:
                raise HaproxyStartError(code=code, log=self._last_words())
            await asyncio.sleep(_POLL_S)

    async def _answering(self) -> int | None:
        try:
            return parse_info(await self._client.query(ShowInfo())).pid
        except PeerUnreachableError:
            return None

    async def _end_stray(self) -> None:
        """A HAProxy of ours that lost its socket would keep the port and get no more changes."""
        pid = self._stray()
        if pid is not None:
            self._watch(pid)
            await self.stop(timeout_s=0)

    def _stray(self) -> int | None:
        """Return the pid in the pid file if a HAProxy of this state directory still has it."""
        try:
            pid = int(self._launch.pid_file.read_text())
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError):
            return None
        return pid if str(self._launch.state_dir).encode() in arguments else None

    def _note(self, pid: int) -> None:
        """Write the pid down, whole or not at all."""
        beside = self._launch.pid_file.with_suffix(".new")
        beside.write_text(f"{pid}\n")
        beside.replace(self._launch.pid_file)

    def _spawn(self, replace: int | None) -> int:
        """Start in a process group of its own: what ends router-config does not reach it.

        It shares the session: Linux divides a CPU among sessions first, and an almost idle one
        that wakes between busy ones was seen to wait 200 ms for its turn.
        It gets nothing of this environment: its configuration uses none, and secrets stay here.
        """
        arguments = self._launch.arguments(replace=replace)
        with self._open_log() as log:
            return os.posix_spawn(
                arguments[0],
                arguments,
                self._launch.environment,
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, log.fileno(), 1),
                    (os.POSIX_SPAWN_DUP2, log.fileno(), 2),
                ],
                setpgroup=0,
            )

    def _open_log(self) -> BinaryIO:
        """Append; beyond its limit the log of earlier programs becomes the one before."""
        log = self._launch.log_file
        log.parent.mkdir(parents=True, exist_ok=True)
        if log.exists() and log.stat().st_size > LOG_BYTES_MAX:
            log.replace(log.with_name(f"{log.name}.1"))
        return log.open("ab")

    def _last_words(self) -> str:
        """Return HAProxy's last alert, which says why it did not start."""
        lines = self._launch.log_file.read_text(errors="replace").splitlines()
        alerts = [line for line in lines if "[ALERT]" in line] or lines
        return alerts[-1].strip() if alerts else ""

    def _watch(self, pid: int) -> None:
        self._unwatch()
        self._pidfd = os.pidfd_open(pid)
        self._pid = pid
        self._gone.clear()
        asyncio.get_running_loop().add_reader(self._pidfd, self._on_readable)

    def _on_readable(self) -> None:
        self._unwatch()
        self._wake()

    def _unwatch(self) -> None:
        if self._pidfd is not None:
            asyncio.get_running_loop().remove_reader(self._pidfd)
            os.close(self._pidfd)
        if self._pid is not None:
            _reap(self._pid)
        self._pidfd = self._pid = None
        self._gone.set()


def _require_free(host: str, port: int) -> None:
    """Refuse a port that is taken: two HAProxys would share it without a word."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError as exc:
            raise UsageError(
                f"Cannot listen on {host}:{port}: {exc.strerror}. Stop what uses it, or set"
                " SLUICE_ROUTER_CONFIG_API_PORT to another port."
            ) from exc


def _exit_code(pid: int) -> int | None:
    """Return how a child ended; None while it runs."""
    ended, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if ended else None


def _kill_child(pid: int) -> None:
    _send(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def _reap(pid: int) -> None:
    """Collect an ended child; one that was adopted is somebody else's."""
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def _send(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _nothing() -> None:
    """Nobody is to be woken yet."""
