"""One folder for everything that an engine and its front ends put into the file system.

The owner holds a lock on the folder for as long as it lives. The kernel releases it however the
owner dies, so a folder that another process can lock belongs to a dead one.

A segment of shared memory cannot be in a folder. vLLM's plugin writes a note for each one instead:
an empty file `NAME.INODE.shm`, whose inode tells the segment from a later one of the same name.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from libs.contracts.lease import UNIX_PATH_BYTES_MAX
from libs.errors import TransientError, UsageError

FOLDER_VARIABLE: Final = "SLUICE_ENGINE_FOLDER"
"""Tells vLLM's processes which folder is theirs; the plugin in `libs/engine/plugin` reads it."""

SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - where the kernel shows it (shm_overview(7))

_PREFIX: Final = "sluice-"
_NAME: Final = re.compile(rf"{_PREFIX}[0-9a-f]{{8}}")
_LONGEST_SOCKET: Final = "/00000000-0000-0000-0000-000000000000"
"""vLLM names its sockets so."""

_NOTES: Final = "*.shm"
_LOCK_TRIES: Final = 100
_LOCK_RETRY_S: Final = 0.01


@contextmanager
def engine_folder(base: Path, name: str) -> Iterator[Path]:
    """Own a folder in `base` while the body runs, and remove what dead owners left there.

    `name` is 8 hexadecimal digits that no other owner has.

    Raises:
        UsageError: the path of `base` is too long for the sockets of vLLM.
    """
    folder = base / f"{_PREFIX}{name}"
    _check_room(folder)
    base.mkdir(parents=True, exist_ok=True, mode=0o700)
    remove_dead(base)
    lock = _own(folder)
    try:
        yield folder
    finally:
        _remove(folder)
        os.close(lock)


def remove_dead(base: Path) -> None:
    """Remove the folders of dead owners, and their shared memory."""
    for folder in base.glob(f"{_PREFIX}*"):
        lock = _locked(folder) if _NAME.fullmatch(folder.name) else None
        if lock is not None:
            _remove(folder)
            os.close(lock)


def _check_room(folder: Path) -> None:
    excess = len(f"{folder}{_LONGEST_SOCKET}".encode()) - UNIX_PATH_BYTES_MAX
    if excess > 0:
        message = f"The path of {folder.parent} is {excess} bytes too long for sockets in it."
        raise UsageError(message)


def _own(folder: Path) -> int:
    """Make and lock the folder.

    Before it is locked it looks like a dead owner's, so another process may remove it: make it
    again then.
    """
    for _ in range(_LOCK_TRIES):
        folder.mkdir(mode=0o700, exist_ok=True)
        lock = _locked(folder)
        if lock is not None:
            return lock
        time.sleep(_LOCK_RETRY_S)
    raise TransientError("The folder of this engine cannot be locked.", folder=folder)


def _locked(folder: Path) -> int | None:
    """Lock a folder; None if it has a living owner or another user's, or is gone."""
    try:
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    with suppress(BlockingIOError, FileNotFoundError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        found = os.fstat(lock)
        if found.st_uid == os.geteuid() and folder.stat().st_ino == found.st_ino:
            return lock
    os.close(lock)
    return None


def _remove(folder: Path) -> None:
    """Remove a folder that is locked, and the shared memory that its notes name."""
    for note in folder.glob(_NOTES):
        _remove_segment(note)
    shutil.rmtree(folder, ignore_errors=True)


def _remove_segment(note: Path) -> None:
    name, _, inode = note.stem.rpartition(".")
    segment = SHARED_MEMORY / name
    with suppress(FileNotFoundError):
        if inode.isdecimal() and segment.stat().st_ino == int(inode):
            segment.unlink()
