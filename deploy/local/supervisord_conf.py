"""Render the configuration of supervisord, which keeps a machine's processes running.

supervisord takes ` ;`, ` #`, `%`, quotes and line ends in a value for its own syntax, and no way to
quote carries them all. So a value that is not ours never stands in its file: what a program is
started with is in a file of its own, which `launch.py` reads, and the paths that supervisord itself
needs come from its environment.

Source: http://supervisord.org/configuration.html (version 4.3).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deploy.local.launch import Launch

PYTHON_VARIABLE: Final = "SLUICE_LAUNCH_PYTHON"
"""In supervisord's environment: the interpreter of `launch.py`."""

PROGRAM_VARIABLE: Final = "SLUICE_LAUNCH_PROGRAM"
"""In supervisord's environment: the path of `launch.py`."""

LOG_VARIABLE: Final = "SLUICE_SUPERVISOR_LOG"
"""In supervisord's environment: its own log file."""

_PLAIN: Final = re.compile(r"[\w./-]+", re.ASCII)
_COMMAND: Final = f"""/bin/sh -c 'exec "${PYTHON_VARIABLE}" -I -S "${PROGRAM_VARIABLE}" "$0"' """
"""The shell only becomes the interpreter: its variables may hold any character."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One process that supervisord starts and restarts.

    Attributes:
        stop_wait_s: how long it may take to end after its stop signal before it is killed.
        stop_signal: what asks it to end for good, without the `SIG`.
        stop_group: whether its process group gets the signals too; never for a process whose
            children must outlive it.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    directory: Path
    log_file: Path
    stop_wait_s: int = 10
    stop_signal: str = "TERM"
    stop_group: bool = False


def launch_of(program: Program, *, pid_file: Path) -> Launch:
    """Return what `launch.py` has to know of a program."""
    return Launch(
        command=list(program.command),
        environment=dict(program.environment),
        directory=str(program.directory),
        log_file=str(program.log_file),
        pid_file=str(pid_file),
        whole_group=program.stop_group,
        kill_after_s=max(1, program.stop_wait_s - 1),
    )


def render(programs: Sequence[Program], *, socket: Path, pid_file: Path, launches: Path) -> str:
    """Render the whole file; no program starts by itself.

    `launches` is the folder of their files, each named as its program with `.json`. The three
    paths must be of characters that mean nothing to supervisord or a shell.

    Raises:
        ValueError: one of them is not.
    """
    return "\n".join(
        [
            _section(
                "unix_http_server",
                {"file": _plain(socket), "chmod": "0600"},
            ),
            _section(
                "supervisord",
                {
                    "logfile": f"%(ENV_{LOG_VARIABLE})s",
                    "logfile_maxbytes": "5MB",
                    "logfile_backups": "1",
                    "pidfile": _plain(pid_file),
                    "nodaemon": "false",
                    "silent": "true",
                    # HAProxy takes two descriptors a connection.
                    "minfds": "10000",
                    "umask": "077",
                },
            ),
            _section(
                "rpcinterface:supervisor",
                {
                    "supervisor.rpcinterface_factory": (
                        "supervisor.rpcinterface:make_main_rpcinterface"
                    )
                },
            ),
            *(_program(program, launches / f"{program.name}.json") for program in programs),
        ]
    )


def _program(program: Program, launch: Path) -> str:
    group = "true" if program.stop_group else "false"
    return _section(
        f"program:{program.name}",
        {
            "command": f"{_COMMAND}{_plain(launch)}",
            "autostart": "false",
            # Exit code 2 means bad configuration: starting again cannot help. Any other end that
            # supervisord did not ask for, by a stranger's SIGTERM too, is one to start again after.
            "autorestart": "unexpected",
            "exitcodes": "2",
            "startsecs": "1",
            "startretries": "1000",
            "stopsignal": program.stop_signal,
            "stopwaitsecs": str(program.stop_wait_s),
            "stopasgroup": group,
            "killasgroup": group,
            # The program has a log file of its own.
            "redirect_stderr": "true",
            "stdout_logfile": "NONE",
        },
    )


def _section(name: str, options: Mapping[str, str]) -> str:
    lines = [f"{key} = {value}" for key, value in options.items()]
    return "\n".join([f"[{name}]", *lines, ""])


def _plain(path: Path) -> str:
    if not _PLAIN.fullmatch(str(path)):
        message = f"supervisord cannot be told the path {str(path)!r}"
        raise ValueError(message)
    return str(path)
