"""Keep a folder's log files within a bound: `python -I -S keep_logs.py FOLDER BYTES KEPT SECONDS`.

Programs append to their own files, so that no other process's end takes their log away. A file
that has grown beyond the bound is copied aside and emptied in place; lines that are written between
the two are lost. Standard library only: it is one more process beside each stack.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from contextlib import suppress
from pathlib import Path


def main(arguments: list[str]) -> None:
    """Look every few seconds, for ever."""
    folder, bytes_max, kept, every_s = arguments
    while True:
        bound_all(Path(folder), bytes_max=int(bytes_max), kept=int(kept))
        time.sleep(float(every_s))


def bound_all(folder: Path, *, bytes_max: int, kept: int) -> None:
    """Empty every `*.log` of the folder that is larger than the bound; keep some older copies."""
    for path in folder.glob("*.log"):
        with suppress(OSError):
            if path.stat().st_size > bytes_max:
                _move_aside(path, kept=kept)


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
