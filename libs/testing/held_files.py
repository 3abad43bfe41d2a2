"""Files that processes make in shared folders, and which of them outlive their owners.

A look at the folders before and after would see other programs' files too.
Source: proc(5), `/proc/PID/fd`, `/proc/PID/maps` and `/proc/net/unix`.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

SHARED: Final = ("/tmp/", "/dev/shm/")  # noqa: S108 - looked at, not written to
_OWN: Final = (Path(__file__).resolve().parents[2], Path(sys.prefix).resolve())
_SOCKET: Final = "socket:["
_EVERY_S: Final = 1.0


@contextmanager
def files_of(pids: Callable[[], Iterable[int]]) -> Iterator[set[Path]]:
    """Collect, while the body runs, the shared folders' files that some processes have open."""
    found: set[Path] = set()
    over = threading.Event()

    def look() -> None:
        while not over.wait(_EVERY_S):
            found.update(held_files(pids()))

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield found
    finally:
        over.set()
        looking.join()


def held_files(pids: Iterable[int]) -> set[Path]:
    """Return what the processes have open, mapped or bound in shared folders, by its path.

    A checkout in such a folder, with its environment, is no file of theirs.
    """
    sockets = _socket_paths()
    names = {name for pid in pids for name in (*_opened(pid, sockets), *_mapped(pid))}
    found = {Path(name) for name in names if name.startswith(SHARED)}
    return {path for path in found if not any(path.is_relative_to(own) for own in _OWN)}


def left(files: Iterable[Path], *, inside: Path | None = None) -> list[Path]:
    """Return those that are still there, but for what lies inside a folder of the caller's."""
    return sorted(
        file
        for file in files
        if file.exists() and not (inside is not None and file.is_relative_to(inside))
    )


def _opened(pid: int, sockets: dict[str, str]) -> Iterator[str]:
    with suppress(OSError):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                target = str(descriptor.readlink())
                yield sockets.get(target, "") if target.startswith(_SOCKET) else target


def _mapped(pid: int) -> Iterator[str]:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/maps").read_text(errors="replace").splitlines():
            yield line[line.find("/") :] if "/" in line else ""


def _socket_paths() -> dict[str, str]:
    """Return bound paths by what /proc shows of their sockets."""
    rows = (line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:])
    return {f"{_SOCKET}{row[6]}]": row[7] for row in rows if len(row) > 7}  # noqa: PLR2004
