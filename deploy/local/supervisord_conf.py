"""Render the configuration of supervisord, which keeps a machine's processes running.

Source: http://supervisord.org/configuration.html (version 4.3). Values are interpolated by
supervisord, so every `%` is doubled; environment values are quoted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


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


def render(programs: Sequence[Program], *, socket: Path, pid_file: Path, log_file: Path) -> str:
    """Render the whole file; no program starts by itself."""
    return "\n".join(
        [
            _section(
                "unix_http_server",
                {"file": _escape(str(socket)), "chmod": "0600"},
            ),
            _section(
                "supervisord",
                {
                    "logfile": _escape(str(log_file)),
                    "logfile_maxbytes": "5MB",
                    "logfile_backups": "1",
                    "pidfile": _escape(str(pid_file)),
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
            *(_program(program) for program in programs),
        ]
    )


def _program(program: Program) -> str:
    group = "true" if program.stop_group else "false"
    return _section(
        f"program:{program.name}",
        {
            "command": _escape(" ".join(_quote(word) for word in program.command)),
            "directory": _escape(str(program.directory)),
            "environment": _escape(
                ",".join(f"{k}={_quote(v)}" for k, v in sorted(program.environment.items()))
            ),
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
            "redirect_stderr": "true",
            "stdout_logfile": _escape(str(program.log_file)),
            "stdout_logfile_maxbytes": "20MB",
            "stdout_logfile_backups": "2",
        },
    )


def _section(name: str, options: Mapping[str, str]) -> str:
    lines = [f"{key} = {value}" for key, value in options.items()]
    return "\n".join([f"[{name}]", *lines, ""])


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _escape(text: str) -> str:
    if "\n" in text:
        message = f"a supervisord setting must be one line: {text!r}"
        raise ValueError(message)
    return text.replace("%", "%%")
