"""CPU time of an engine's processes by what they are, from /proc."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")


class Role(StrEnum):
    """What a process does; RAY is Ray's own: its head, its node, its agents."""

    FRONT_END = "front_end"
    ENGINE_CORE = "engine_core"
    WORKER = "worker"
    RAY = "ray"


_TITLES: Final = (
    ("VLLM::EngineCore", Role.ENGINE_CORE),
    ("VLLM::Worker", Role.WORKER),
    ("ray::RayWorkerProc", Role.WORKER),
    ("ray::RayWorkerWrapper", Role.WORKER),
)
_API_SERVER: Final = "vllm.entrypoints.openai.api_server"


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One process at one moment; vLLM and Ray write what it is into its command line."""

    pid: int
    parent: int
    command: str
    cpu_s: float

    @property
    def role(self) -> Role:
        """Return what it does."""
        for title, role in _TITLES:
            if self.command.startswith(title):
                return role
        return Role.FRONT_END if _API_SERVER in self.command else Role.RAY


def cpu_by_role(before: Iterable[Process], after: Iterable[Process]) -> Mapping[Role, float]:
    """Return the CPU seconds between two readings, of processes that were there both times."""
    earlier = {each.pid: each.cpu_s for each in before}
    found = dict.fromkeys(Role, 0.0)
    for each in after:
        if each.pid in earlier:
            found[each.role] += each.cpu_s - earlier[each.pid]
    return found


def read_families(heads: Iterable[int]) -> list[Process]:
    """Read some processes and all that they have started, as far as they live."""
    return families(_read_all(), heads)


def families(processes: Iterable[Process], heads: Iterable[int]) -> list[Process]:
    """Return some processes and all their descendants.

    A process that gives itself a title may overwrite its environment, so that no mark in it lasts.
    """
    children: dict[int, list[Process]] = {}
    found: dict[int, Process] = {}
    marked = set(heads)
    for each in processes:
        children.setdefault(each.parent, []).append(each)
        if each.pid in marked:
            found[each.pid] = each
    waiting = list(found.values())
    while waiting:
        for child in children.get(waiting.pop().pid, []):
            if child.pid not in found:
                found[child.pid] = child
                waiting.append(child)
    return list(found.values())


def parse_process(pid: int, command: str, stat: str) -> Process:
    """Read a line of /proc/<pid>/stat; the name in parentheses may hold any character.

    Source: proc(5), fields 4, 14 and 15.
    """
    fields = stat.rpartition(")")[2].split()
    return Process(
        pid=pid,
        parent=int(fields[1]),
        command=command,
        cpu_s=(int(fields[11]) + int(fields[12])) / _TICKS_PER_S,
    )


def _read_all() -> Iterator[Process]:
    for folder in _PROC.iterdir():
        if folder.name.isdigit():
            with suppress(OSError):
                yield _read(folder)


def _read(folder: Path) -> Process:
    command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    stat = (folder / "stat").read_text(errors="replace")
    return parse_process(int(folder.name), command, stat)
