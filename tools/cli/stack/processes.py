"""Find and end the processes of a stack by the mark in their environment."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

STACK_ID_VARIABLE: Final = "SLUICE_STACK_ID"
_POLL_S: Final = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A process of the stack."""

    pid: int
    command: str


def of_stack(stack_id: str, *, proc: Path = Path("/proc")) -> list[Found]:
    """List the living processes that carry the stack's mark, oldest first; zombies do not count."""
    mark = f"{STACK_ID_VARIABLE}={stack_id}".encode()
    found = [_look(folder, mark) for folder in proc.iterdir() if folder.name.isdigit()]
    mine = [each for each in found if each is not None and each.pid != os.getpid()]
    return sorted(mine, key=lambda each: each.pid)


def end_all(stack_id: str, *, grace_s: float) -> list[Found]:
    """End what is left: SIGTERM, and SIGKILL after the grace. Returns what had to be killed."""
    if _wait_gone(stack_id, signal.SIGTERM, grace_s):
        return []
    left = of_stack(stack_id)
    _wait_gone(stack_id, signal.SIGKILL, grace_s)
    return left


def _wait_gone(stack_id: str, sent: signal.Signals, grace_s: float) -> bool:
    deadline = time.monotonic() + grace_s
    told: set[int] = set()
    while left := of_stack(stack_id):
        for each in left:
            if each.pid not in told:
                told.add(each.pid)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(each.pid, sent)
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True


def _look(folder: Path, mark: bytes) -> Found | None:
    try:
        if mark not in (folder / "environ").read_bytes().split(b"\0"):
            return None
        if _state(folder) == "Z":
            return None
        command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    return Found(pid=int(folder.name), command=command.strip() or "?")


def _state(folder: Path) -> str:
    # proc(5): the state follows the command name, which is in parentheses and may hold any byte.
    return (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[0]
