"""Reads the CPU time of a stack's processes from /proc, twice a second, while a load runs."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tools.bench.compare.cpu_ledger import CpuLedger, Seen, between, grown
from tools.bench.compare.machine import busy_s
from tools.bench.compare.roles import Role
from tools.cli.stack.processes import STACK_ID_VARIABLE

_PERIOD_S: Final = 0.5
_DEPTH_MAX: Final = 64
_PROC: Final = Path("/proc")
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")


class CpuMeter:
    """Meters one stack, known by the mark in its processes' environment, while it is open."""

    def __init__(self, stack_id: str) -> None:
        self._mark = _mark_of(stack_id)
        self._ledger = CpuLedger()
        self._machine: list[tuple[float, float]] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="cpu-meter", daemon=True)

    def __enter__(self) -> Self:
        self._read()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        raised: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def cpu_s(self, start_s: float, end_s: float) -> dict[Role, float]:
        """Return the CPU seconds by role between two moments of `time.time`."""
        return between(self._ledger.totals, start_s, end_s)

    def machine_s(self, start_s: float, end_s: float) -> float:
        """Return the CPU seconds that the whole machine used between two moments."""
        return grown(self._machine, start_s, end_s)

    def _follow(self) -> None:
        while not self._over.wait(_PERIOD_S):
            self._read()
        self._read()

    def _read(self) -> None:
        self._ledger.take(time.time(), _marked(self._mark))
        self._machine.append((time.time(), busy_s()))


def stack_processes(stack_id: str) -> list[Seen]:
    """Return a stack's processes as they are now."""
    return _marked(_mark_of(stack_id))


def members(found: Sequence[Found]) -> Iterator[Seen]:
    """Return a stack's processes: those with its mark, and all that they have started.

    HAProxy gets no environment from router-config, so it has no mark.
    """
    by_pid = {each.seen.pid: each for each in found}
    for each in found:
        if any(above.is_marked for above in _line(each, by_pid)):
            yield each.seen


def _mark_of(stack_id: str) -> bytes:
    return f"{STACK_ID_VARIABLE}={stack_id}".encode()


def _marked(mark: bytes) -> list[Seen]:
    return list(members(list(_all(mark))))


def _line(each: Found, by_pid: Mapping[int, Found]) -> Iterator[Found]:
    """Yield a process and those above it, as far as they were read."""
    above: Found | None = each
    for _ in range(_DEPTH_MAX):
        if above is None:
            return
        yield above
        above = by_pid.get(above.seen.parent)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A process of this machine, and whether it has the stack's mark."""

    seen: Seen
    is_marked: bool


def _all(mark: bytes) -> Iterator[Found]:
    for folder in _PROC.iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
                yield _look(folder, mark)


def _look(folder: Path, mark: bytes) -> Found:
    command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    stat = (folder / "stat").read_text(errors="replace")
    return Found(
        seen=parse_stat(int(folder.name), command, stat),
        is_marked=mark in (folder / "environ").read_bytes().split(b"\0"),
    )


def parse_stat(pid: int, command: str, stat: str) -> Seen:
    """Read a line of /proc/<pid>/stat; the name in parentheses may hold any character."""
    fields = stat.rpartition(")")[2].split()
    user, system, reaped_user, reaped_system = (int(text) for text in fields[11:15])
    return Seen(
        pid=pid,
        began=int(fields[19]),
        parent=int(fields[1]),
        command=command,
        own_s=(user + system) / _TICKS_PER_S,
        reaped_s=(reaped_user + reaped_system) / _TICKS_PER_S,
    )
