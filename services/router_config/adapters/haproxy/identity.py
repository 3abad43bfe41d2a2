"""Which process is our HAProxy: its pid, its start time and its exact command.

A pid alone may belong to another process by now, and a part of a command may be another one's: a
person's editor has the same files open. What is not known for certain gets no signal.
Source: proc(5), `/proc/<pid>/stat`, field 22 (starttime, in clock ticks since boot).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError

from services.router_config.adapters.haproxy.whole_file import replace_file

_PROC: Final = Path("/proc")
_START_FIELD: Final = 19
"""Of what follows the command's name, which is in parentheses and may hold any character."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """One process: no other one ever has all three.

    Attributes:
        started_ticks: clock ticks from the machine's start to the process's.
    """

    pid: int
    started_ticks: int
    command: tuple[str, ...]


_IDENTITY: Final = TypeAdapter(Identity)


def identify(pid: int) -> Identity | None:
    """Look at a process; None if there is none, or it has ended and waits to be collected."""
    folder = _PROC / str(pid)
    try:
        command = (folder / "cmdline").read_bytes()
        fields = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    if not command:
        return None
    words = tuple(word.decode(errors="replace") for word in command.rstrip(b"\0").split(b"\0"))
    return Identity(pid=pid, started_ticks=int(fields[_START_FIELD]), command=words)


def still_runs(identity: Identity) -> bool:
    """Tell whether this very process runs."""
    return identify(identity.pid) == identity


def write_identity(file: Path, identity: Identity) -> None:
    """Write it down, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    replace_file(file, _IDENTITY.dump_json(identity))


def read_identity(file: Path) -> Identity | None:
    """Read what was written down; None if nothing that can be read was."""
    try:
        return _IDENTITY.validate_json(file.read_bytes())
    except (OSError, ValidationError):
        return None


def with_command(arguments: Sequence[str]) -> list[Identity]:
    """Find this user's processes whose command begins with a program and then these arguments."""
    wanted = tuple(arguments)
    pids = (int(each.name) for each in _PROC.iterdir() if each.name.isdecimal() and _is_own(each))
    found = (identify(pid) for pid in pids)
    return [each for each in found if each and each.command[1 : len(wanted) + 1] == wanted]


def _is_own(folder: Path) -> bool:
    try:
        return folder.stat().st_uid == os.getuid()
    except OSError:
        return False
