"""Find and end the processes of a stack: those with its mark in their environment.

Every process of a stack has two marks: the id of this run, and the folder of what the stack keeps.
The second finds the processes of a stack whose files have been removed. Command lines are not
looked at: an editor may have any of the stack's files open.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

STACK_ID_VARIABLE: Final = "SLUICE_STACK_ID"
STACK_FOLDER_VARIABLE: Final = "SLUICE_STACK_FOLDER"
_POLL_S: Final = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A process of the stack."""

    pid: int
    command: str


def marks(stack_id: str, folder: Path) -> dict[str, str]:
    """Return what stands in the environment of every process of a stack."""
    return {STACK_ID_VARIABLE: stack_id, STACK_FOLDER_VARIABLE: str(folder)}


def of_stack(stack_id: str, *, proc: Path = Path("/proc")) -> list[Found]:
    """List the living processes of one run of a stack by their ids; zombies do not count."""
    return marked(STACK_ID_VARIABLE, stack_id, proc=proc)


def of_folder(folder: Path, *, proc: Path = Path("/proc")) -> list[Found]:
    """List the living processes of any run of the stack that keeps its files in a folder."""
    return marked(STACK_FOLDER_VARIABLE, str(folder), proc=proc)


def marked(name: str, value: str, *, proc: Path = Path("/proc")) -> list[Found]:
    """List this user's living processes with a variable in their environment, but this one."""
    mark = os.fsencode(f"{name}={value}")
    found = [_look(folder, mark) for folder in proc.iterdir() if folder.name.isdigit()]
    mine = [each for each in found if each is not None and each.pid != os.getpid()]
    return sorted(mine, key=lambda each: each.pid)


def end_all(stack_id: str, *, grace_s: float) -> list[Found]:
    """End one run of a stack; see `end`."""
    return end(partial(of_stack, stack_id), grace_s=grace_s)


def end(look: Callable[[], list[Found]], *, grace_s: float) -> list[Found]:
    """End what is found: SIGTERM, and SIGKILL after the grace. Returns what had to be killed."""
    if _wait_gone(look, signal.SIGTERM, grace_s):
        return []
    left = look()
    _wait_gone(look, signal.SIGKILL, grace_s)
    return left


def send(found: Found, number: signal.Signals, look: Callable[[], list[Found]]) -> None:
    """Signal a process that is still there; a later one that got its id is left alone."""
    with contextlib.suppress(ProcessLookupError):
        descriptor = os.pidfd_open(found.pid)
        try:
            if any(each.pid == found.pid for each in look()):
                signal.pidfd_send_signal(descriptor, number)
        finally:
            os.close(descriptor)


def _wait_gone(look: Callable[[], list[Found]], sent: signal.Signals, grace_s: float) -> bool:
    deadline = time.monotonic() + grace_s
    told: set[int] = set()
    while left := look():
        for each in left:
            if each.pid not in told:
                told.add(each.pid)
                send(each, sent, look)
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True


def _look(folder: Path, mark: bytes) -> Found | None:
    try:
        if mark not in (folder / "environ").read_bytes().split(b"\0"):
            return None
        if folder.stat().st_uid != os.geteuid() or _state(folder) == "Z":
            return None
        command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    return Found(pid=int(folder.name), command=command.strip() or "?")


def _state(folder: Path) -> str:
    # proc(5): the state follows the command name, which is in parentheses and may hold any byte.
    return (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[0]
