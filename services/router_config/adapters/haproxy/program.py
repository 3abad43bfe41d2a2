"""HAProxy's process: started in a session of its own, adopted again, watched, replaced, stopped.

It outlives router-config, so it is never a child that somebody waits for: a pidfd tells its end.

Only a HAProxy that is gone is *lost*: its process has ended or its admin socket has no listener.
One that does not answer may be slow, stopped for a while, or starved of a CPU, and still carry
every stream; it is watched and asked again, and never ended. One that serves without an admin
socket is replaced: the new one listens beside it, and the old one finishes its streams.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from libs.errors import PeerGoneError, PeerUnreachableError, TransientError, UsageError
from libs.haproxy.client import HaproxyClient
from libs.haproxy.commands import ShowInfo
from libs.haproxy.config import BASE_FILE, POOLS_FILE
from libs.haproxy.tables import parse_info
from libs.telemetry.logging import get_logger
from services.router_config.adapters.haproxy.identity import (
    identify,
    read_identity,
    still_runs,
    with_command,
    write_identity,
)
from services.router_config.adapters.haproxy.whole_file import replace_file
from services.router_config.ports import ProgramSilentError

LOG_BYTES_MAX: Final = 16 * 1024 * 1024
_POLL_S: Final = 0.02
_TERMINATE_S: Final = 2.0

_log = get_logger(__name__)


class HaproxyStartError(TransientError):
    """HAProxy did not come up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """How to start a HAProxy.

    Attributes:
        state_dir: where its configuration and maps are.
        pid_file: where the pid of the one that serves is kept; its identity is beside it.
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

    @property
    def identity_file(self) -> Path:
        """Where it is written which process serves."""
        return self.pid_file.with_suffix(".json")

    @property
    def files(self) -> list[str]:
        """Return the arguments that every HAProxy of this state directory has."""
        return ["-db", "-C", str(self.state_dir), "-f", BASE_FILE, "-f", POOLS_FILE]

    def arguments(self, *, replace: Sequence[int], takes_listeners: bool) -> list[str]:
        """Return the command line.

        `replace` are processes that are asked to finish once the new one listens; with
        `takes_listeners` it gets its listeners from the one at the admin socket.
        """
        takeover = ["-x", str(self.admin_socket)] if takes_listeners else []
        finishing = ["-sf", *map(str, replace)] if replace else []
        return [str(self.binary), *self.files, *takeover, *finishing]


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
        self._former: dict[int, int] = {}

    def running(self) -> int | None:
        """Return the pid of the one that serves; None when it ended."""
        return self._pid

    def on_end(self, wake: Callable[[], None]) -> None:
        """Call back as soon as it ends."""
        self._wake = wake

    async def adopt(self) -> int | None:
        """Take over the one that has the admin socket, answering or not; None if there is none.

        Raises:
            ProgramSilentError: it does not answer, and nothing tells which process it is.
        """
        try:
            pid = parse_info(await self._client.query(ShowInfo())).pid
        except PeerGoneError:
            return None
        except PeerUnreachableError as exc:
            return self._adopt_silent(exc)
        self._watch(pid)
        self._note(pid)
        return self._pid

    async def start(self, *, replace: int | None = None) -> int:
        """Start one from the state on disk and return its pid once it answers.

        Whatever goes wrong, a HAProxy that serves goes on, and is watched.

        Raises:
            UsageError: somebody else listens on the port.
            HaproxyStartError: it ended at once or did not answer in time.
        """
        replaced = [replace] if replace is not None else self._strays()
        if not replaced:
            _require_free(*self._launch.api)
        pid = self._spawn(replaced, takes_listeners=bool(replaced) and await self._is_reachable())
        if not replaced:
            self._note(pid)
        try:
            async with asyncio.timeout(self._launch.start_timeout_s):
                await self._until_answering(pid)
        except TimeoutError as exc:
            await self._settle_for(pid, replaced)
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
            if self._pidfd is None:
                return
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)
            with suppress(TimeoutError):
                async with asyncio.timeout(limit_s):
                    await self._gone.wait()

    def close(self) -> None:
        """Stop watching; the program goes on."""
        self._unwatch()
        for pidfd in list(self._former):
            self._forget_former(pidfd)

    def _adopt_silent(self, cause: PeerUnreachableError) -> int:
        """Watch the process that is known to have the admin socket: it may answer later."""
        known = read_identity(self._launch.identity_file)
        if known is not None:
            self._watch(known.pid)
            if still_runs(known):  # looked at once its pid can no longer become another's
                return known.pid
            self._unwatch()
        raise ProgramSilentError from cause

    async def _is_reachable(self) -> bool:
        """Tell whether a process listens on the admin socket and can hand its listeners over."""
        try:
            await self._client.query(ShowInfo())
        except PeerGoneError:
            return False
        except PeerUnreachableError:
            return True
        return True

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

    async def _settle_for(self, pid: int, replaced: Sequence[int]) -> None:
        """Decide who serves when a new program has not answered in time.

        If the old one answers, the new one has taken nothing over yet and is ended. Otherwise the
        new one has the listeners, or no process has: slow as it is, it is the one to watch.
        """
        if await self._answering() in replaced:
            _kill_child(pid)
        else:
            self._note(pid)
            self._watch(pid)

    def _strays(self) -> list[int]:
        """Return processes of this state directory that serve without an admin socket."""
        return sorted(each.pid for each in with_command(self._launch.files))

    def _note(self, pid: int) -> None:
        """Write down who serves; on a full disk the old notes stay, which name another process."""
        who = identify(pid)  # a process that has just begun may have no command yet
        try:
            self._launch.pid_file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if who is not None:
                write_identity(self._launch.identity_file, who)
            replace_file(self._launch.pid_file, f"{pid}\n".encode())
        except OSError as error:
            _log.warning("haproxy_pid_not_written", pid=pid, error=str(error))

    def _spawn(self, replace: Sequence[int], *, takes_listeners: bool) -> int:
        """Start in a process group of its own: what ends router-config does not reach it.

        It shares the session: Linux divides a CPU among sessions first, and an almost idle one
        that wakes between busy ones was seen to wait 200 ms for its turn.
        It gets nothing of this environment: its configuration uses none, and secrets stay here.

        Raises:
            HaproxyStartError: the kernel cannot start it.
        """
        arguments = self._launch.arguments(replace=replace, takes_listeners=takes_listeners)
        log = self._open_log()
        try:
            # A run directory that was removed is needed for the admin socket.
            self._launch.admin_socket.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            return os.posix_spawn(
                arguments[0],
                arguments,
                self._launch.environment,
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, log, 1),
                    (os.POSIX_SPAWN_DUP2, log, 2),
                ],
                setpgroup=0,
            )
        except OSError as exc:
            raise HaproxyStartError(why=str(exc)) from exc
        finally:
            os.close(log)

    def _open_log(self) -> int:
        """Open the log to append; where that is not possible, HAProxy's words are lost.

        Beyond its limit the log of earlier programs becomes the one before.
        """
        log = self._launch.log_file
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        try:
            log.parent.mkdir(parents=True, exist_ok=True)
            if log.exists() and log.stat().st_size > LOG_BYTES_MAX:
                log.replace(log.with_name(f"{log.name}.1"))
            return os.open(log, flags, 0o600)
        except OSError:
            return os.open(os.devnull, os.O_WRONLY)

    def _last_words(self) -> str:
        """Return HAProxy's last alert, which says why it did not start."""
        try:
            lines = self._launch.log_file.read_text(errors="replace").splitlines()
        except OSError:
            return ""
        alerts = [line for line in lines if "[ALERT]" in line] or lines
        return alerts[-1].strip() if alerts else ""

    def _watch(self, pid: int) -> None:
        """Watch a process instead of the one before, whose end is still waited for."""
        if pid == self._pid:
            return
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            self._unwatch()
            return
        self._keep_former()
        self._pidfd, self._pid = pidfd, pid
        self._gone.clear()
        asyncio.get_running_loop().add_reader(pidfd, self._on_readable)

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

    def _keep_former(self) -> None:
        """Go on watching one that was replaced: an ended child must be collected."""
        if self._pidfd is None or self._pid is None:
            return
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._pidfd)
        self._former[self._pidfd] = self._pid
        loop.add_reader(self._pidfd, self._forget_former, self._pidfd)
        self._pidfd = self._pid = None

    def _forget_former(self, pidfd: int) -> None:
        asyncio.get_running_loop().remove_reader(pidfd)
        os.close(pidfd)
        _reap(self._former.pop(pidfd))


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
    os.kill(pid, signal.SIGKILL)  # a child that was not waited for keeps its pid
    os.waitpid(pid, 0)


def _reap(pid: int) -> None:
    """Collect an ended child; one that was adopted is somebody else's."""
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def _nothing() -> None:
    """Nobody is to be woken yet."""
