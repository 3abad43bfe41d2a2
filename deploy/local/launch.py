"""Start one program of a stack, or look after the one that an earlier supervisord left running.

supervisord runs it as `python -I -S launch.py FILE`; the file says what to run. Values of any kind
pass through the file, which supervisord's own configuration could not carry, and secrets stay out
of command lines. The program writes to its log file itself: it goes on when supervisord dies.

Its process id, start time and boot are written to a second file. Where they name a living process,
this one does not start another: it waits for its end and passes signals on to it. So a new
supervisord takes over a running stack without ending anything.

Standard library only, and nothing of Sluice's: it runs before the program's own import path is set.
Source: proc(5) for the start time, pidfd_open(2).
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

ENDING: Final = (signal.SIGTERM, signal.SIGINT)
FORWARDED: Final = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)

ENDED: Final = 1
"""The exit code after the end of a program that was taken over: its own is not to be had."""

CANNOT_START: Final = 127
"""As a shell's, for a program that cannot be executed."""

_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")
_STATE, _START_TIME = 0, 19
"""Places in /proc/PID/stat behind the command's name: fields 3 and 22."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """What to run.

    Attributes:
        environment: the whole of it; nothing is inherited.
        log_file: appended to; both outputs go there.
        pid_file: where the running program's identity is kept.
        whole_group: whether signals that are passed on go to its process group.
        kill_after_s: how long after a signal to end it is killed, where it was taken over:
            supervisord would kill the process that looks after it.
    """

    command: list[str]
    environment: dict[str, str]
    directory: str
    log_file: str
    pid_file: str
    whole_group: bool = False
    kill_after_s: int = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """One process, told from every later one with the same id.

    Attributes:
        started: clock ticks between the machine's start and its own.
        boot: which start of the machine that was.
    """

    pid: int
    started: int
    boot: str


def main(arguments: list[str]) -> int:
    """Become the program, or wait for the end of the one that runs."""
    launch = Launch(**json.loads(Path(arguments[0]).read_text()))
    running = read_identity(Path(launch.pid_file))
    if running is not None and running == identity_of(running.pid):
        return look_after(running, launch)
    become(launch)
    return CANNOT_START


def become(launch: Launch) -> None:
    """Replace this process by the program; returns only if that fails, and says why in its log."""
    _write_to(launch.log_file)
    Path(launch.directory).mkdir(parents=True, exist_ok=True)
    os.chdir(launch.directory)
    write_identity(Path(launch.pid_file), identity_of(os.getpid()))
    try:
        os.execvpe(launch.command[0], launch.command, launch.environment)  # noqa: S606 - no shell
    except OSError as exc:
        sys.stderr.write(f"{launch.command[0]}: {exc.strerror}\n")


def look_after(running: Identity, launch: Launch) -> int:
    """Wait until a process that is no child of this one has ended; signals are passed on to it."""
    try:
        descriptor = os.pidfd_open(running.pid)
    except ProcessLookupError:
        return ENDED

    def send(number: int) -> None:
        with suppress(ProcessLookupError):
            if launch.whole_group:
                os.killpg(running.pid, number)
            else:
                signal.pidfd_send_signal(descriptor, number)

    def forward(number: int, _frame: object) -> None:
        send(number)
        if number in ENDING:
            signal.alarm(launch.kill_after_s)

    for number in (*ENDING, *FORWARDED):
        signal.signal(number, forward)
    signal.signal(signal.SIGALRM, lambda *_: send(signal.SIGKILL))
    if identity_of(running.pid) == running:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        poll.poll()
    return ENDED


def identity_of(pid: int) -> Identity | None:
    """Return a living process's identity; None where it has ended, as a zombie has."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        boot = _BOOT.read_text().strip()
    except OSError:
        return None
    if fields[_STATE] in {"Z", "X"}:
        return None
    return Identity(pid=pid, started=int(fields[_START_TIME]), boot=boot)


def read_identity(path: Path) -> Identity | None:
    """Return what `write_identity` wrote; None where there is nothing that can be read."""
    try:
        return Identity(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def write_identity(path: Path, identity: Identity | None) -> None:
    """Keep an identity, whole or not at all; without room for it the program starts all the same.

    A next supervisord then starts the program once more, and the one that ran is found by its mark.
    """
    if identity is None:
        return
    beside = path.with_name(f"{path.name}.new")
    with suppress(OSError):
        beside.write_text(json.dumps(asdict(identity)))
        beside.replace(path)


def _write_to(log_file: str) -> None:
    """Append both outputs to a file; what cannot be written is lost, and the program runs."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    try:
        Path(log_file).parent.mkdir(parents=True, exist_ok=True)
        log = os.open(log_file, flags, 0o600)
    except OSError:
        log = os.open(os.devnull, os.O_WRONLY)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
