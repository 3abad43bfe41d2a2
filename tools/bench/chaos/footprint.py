"""What a stack holds of the machine: processes, memory, files; and what must not grow."""

from __future__ import annotations

import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from libs.testing.held_files import held_files
from tools.bench.chaos.world import World
from tools.bench.compare.cpu_meter import stack_processes
from tools.bench.idle.parts import Part, part_of

_PROC: Final = Path("/proc")
_SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - where Linux has it
_RSS: Final = "VmRSS:"
_KIB: Final = 1024
_MEMORY_FACTOR: Final = 1.5
_MEMORY_SLACK_BYTES: Final = 128 * 2**20
_FILES_FACTOR: Final = 1.5
_FILES_SLACK: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """What the processes of one part hold together.

    Attributes:
        files: open descriptors.
    """

    processes: int = 0
    threads: int = 0
    files: int = 0
    memory_bytes: int = 0

    def plus(self, other: Use) -> Use:
        """Return the sum."""
        return Use(
            processes=self.processes + other.processes,
            threads=self.threads + other.threads,
            files=self.files + other.files,
            memory_bytes=self.memory_bytes + other.memory_bytes,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """A whole stack at one moment.

    Attributes:
        sockets: unix sockets in the stack's own folders, Ray's sessions aside, by path.
        segments: of shared memory that the stack's processes have open.
    """

    parts: Mapping[Part, Use]
    sockets: frozenset[str]
    segments: frozenset[Path]


def read_footprint(world: World) -> Footprint:
    """Read what the stack holds now."""
    found: dict[Part, Use] = {}
    for seen in stack_processes(world.stack_id):
        with suppress(OSError):
            part = part_of(seen.command)
            found[part] = found.get(part, Use()).plus(_use(_PROC / str(seen.pid)))
    return Footprint(
        parts=found, sockets=_sockets(world.stack.run), segments=segments_of(world.stack_id)
    )


def segments_of(stack_id: str) -> frozenset[Path]:
    """Return the shared memory that a stack's processes have open now, as files."""
    held = held_files(seen.pid for seen in stack_processes(stack_id))
    return frozenset(each for each in held if each.is_relative_to(_SHARED_MEMORY))


def grown(before: Footprint, after: Footprint) -> tuple[str, ...]:
    """Say what is there more than it may be (pure)."""
    found = [
        words
        for part, use in after.parts.items()
        for words in _grown(part, before.parts.get(part, Use()), use)
    ]
    if len(after.sockets) > len(before.sockets):
        new = ", ".join(sorted(after.sockets - before.sockets))
        found.append(f"{len(after.sockets)} sockets, {len(before.sockets)} before; new: {new}")
    return tuple(found)


def left_segments(ever: Iterable[Path], after: Footprint) -> tuple[str, ...]:
    """Name the shared memory that still exists although no process has it open."""
    left = [str(each) for each in sorted(ever) if each not in after.segments and each.exists()]
    return (f"shared memory: {', '.join(left)}",) if left else ()


def _grown(part: Part, before: Use, after: Use) -> list[str]:
    """Ray keeps idle workers, which belong to no part that is named."""
    found = []
    if part is not Part.OTHER and after.processes > before.processes:
        found.append(f"{part}: {after.processes} processes, {before.processes} before")
    if part is Part.OTHER or after.processes != before.processes:
        return found
    if after.files > before.files * _FILES_FACTOR + _FILES_SLACK:
        found.append(f"{part}: {after.files} open files, {before.files} before")
    if after.memory_bytes > before.memory_bytes * _MEMORY_FACTOR + _MEMORY_SLACK_BYTES:
        mib = (before.memory_bytes // 2**20, after.memory_bytes // 2**20)
        found.append(f"{part}: {mib[1]} MiB, {mib[0]} before")
    return found


def _use(folder: Path) -> Use:
    return Use(
        processes=1,
        threads=len(list((folder / "task").iterdir())),
        files=len(list((folder / "fd").iterdir())),
        memory_bytes=parse_resident(folder.joinpath("status").read_text(errors="replace")),
    )


def parse_resident(status: str) -> int:
    """Read resident bytes from a /proc/<pid>/status; 0 where there are none (pure)."""
    for line in status.splitlines():
        if line.startswith(_RSS):
            return int(line.split()[1]) * _KIB
    return 0


def _sockets(run: Path) -> frozenset[str]:
    found = (each for each in run.rglob("*") if "ray" not in each.relative_to(run).parts)
    return frozenset(str(each.relative_to(run)) for each in found if _is_socket(each))


def _is_socket(path: Path) -> bool:
    try:
        return stat.S_ISSOCK(path.lstat().st_mode)
    except OSError:
        return False
