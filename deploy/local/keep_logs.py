"""Keep a stack's log files within a bound, and its files in /tmp from being cleaned away.

Run as `python -S -m deploy.local.keep_logs LOG_FOLDER BYTES KEPT SECONDS RUN_FOLDER`.

Programs append to their own files, so that no other process's end takes their log away. A file
that has grown beyond the bound is copied aside and emptied in place; lines that are written between
the two are lost.

Many machines remove files in /tmp that have not been used for some days (tmpfiles.d(5)); a stack
reads most of its own only when a part starts again. So they are marked as used every hour.

Standard library only: it is one more process beside each stack.
"""

from __future__ import annotations

import os
import shutil
import stat
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from deploy.local.launch import identity_of, read_identity

USED_EVERY_S: Final = 3600.0


def main(arguments: list[str]) -> None:
    """Look every few seconds, for ever."""
    folder, bytes_max, kept, every_s, run = arguments
    used_at = -USED_EVERY_S
    while True:
        bound_all(Path(folder), bytes_max=int(bytes_max), kept=int(kept))
        bound_removed(Path(run) / "pids", bytes_max=int(bytes_max))
        if time.monotonic() - used_at >= USED_EVERY_S:
            used_at = time.monotonic()
            mark_used(Path(run))
        time.sleep(float(every_s))


def mark_used(folder: Path) -> None:
    """Set the times of everything in a folder to now."""
    for path in (folder, *folder.rglob("*")):
        with suppress(OSError):
            os.utime(path, follow_symlinks=False)


def bound_all(folder: Path, *, bytes_max: int, kept: int) -> None:
    """Empty every `*.log` of the folder that is larger than the bound; keep some older copies."""
    for path in folder.glob("*.log"):
        with suppress(OSError):
            if path.stat().st_size > bytes_max:
                _move_aside(path, kept=kept)


def bound_removed(pids: Path, *, bytes_max: int) -> None:
    """Empty logs that have no name any more, because their folder was removed.

    `pids` is the folder of the programs' identities, see `launch.py`. A removed file takes room for
    as long as its writer has it open.
    """
    for path in pids.glob("*.json"):
        identity = read_identity(path)
        if identity is not None and identity_of(identity.pid) == identity:
            _empty_removed(Path(f"/proc/{identity.pid}/fd/1"), bytes_max)


def _empty_removed(output: Path, bytes_max: int) -> None:
    with suppress(OSError):
        found = output.stat()
        if stat.S_ISREG(found.st_mode) and not found.st_nlink and found.st_size > bytes_max:
            os.truncate(output, 0)


def _move_aside(path: Path, *, kept: int) -> None:
    for number in range(kept - 1, 0, -1):
        with suppress(FileNotFoundError):
            _older(path, number).replace(_older(path, number + 1))
    try:
        shutil.copyfile(path, _older(path, 1))
    except OSError:
        # A full disk: the copy would keep it full, and the bound is what counts.
        _older(path, 1).unlink(missing_ok=True)
    os.truncate(path, 0)


def _older(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")


if __name__ == "__main__":
    main(sys.argv[1:])
