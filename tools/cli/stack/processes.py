"""Find and end the processes of a stack: by the mark in their environment, or by its folder.

HAProxy gets no environment from router-config; it is known by the state folder in its command.
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
_POLL_S: Final = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A process of the stack."""

    pid: int
    command: str


def of_stack(
    stack_id: str, *, haproxy_state: Path | None = None, proc: Path = Path("/proc")
) -> list[Found]:
    """List the stack's living processes by their ids; zombies do not count.

    They carry the stack's mark, or were started with a file of `haproxy_state`.
    """
    mark = f"{STACK_ID_VARIABLE}={stack_id}".encode()
    state = None if haproxy_state is None else f"{haproxy_state}/".encode()
    found = [_look(folder, mark, state) for folder in proc.iterdir() if folder.name.isdigit()]
    mine = [each for each in found if each is not None and each.pid != os.getpid()]
    return sorted(mine, key=lambda each: each.pid)


def end_all(stack_id: str, *, grace_s: float, haproxy_state: Path | None = None) -> list[Found]:
    """End what is left: SIGTERM, and SIGKILL after the grace. Returns what had to be killed."""
    look = partial(of_stack, stack_id, haproxy_state=haproxy_state)
    if _wait_gone(look, signal.SIGTERM, grace_s):
        return []
    left = look()
    _wait_gone(look, signal.SIGKILL, grace_s)
    return left


def _wait_gone(look: Callable[[], list[Found]], sent: signal.Signals, grace_s: float) -> bool:
    deadline = time.monotonic() + grace_s
    told: set[int] = set()
    while left := look():
        for each in left:
            if each.pid not in told:
                told.add(each.pid)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(each.pid, sent)
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True


def _look(folder: Path, mark: bytes, state: bytes | None) -> Found | None:
    try:
        words = (folder / "cmdline").read_bytes().split(b"\0")
        marked = mark in (folder / "environ").read_bytes().split(b"\0")
        started_with = state is not None and any(word.startswith(state) for word in words)
        if not (marked or started_with) or _state(folder) == "Z":
            return None
        command = b" ".join(words).decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    return Found(pid=int(folder.name), command=command.strip() or "?")


def _state(folder: Path) -> str:
    # proc(5): the state follows the command name, which is in parentheses and may hold any byte.
    return (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[0]
