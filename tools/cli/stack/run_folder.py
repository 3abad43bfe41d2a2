"""The folder of a running stack: this user's alone, and locked by the command that changes it.

It lies in a folder in which every user may make files, so before anything in it is believed it is
checked: a folder and no link, of this user, closed to others. `up` and `down` hold its lock; the
kernel releases that however they end.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from libs.errors import UsageError

_POLL_S: Final = 0.1
_OTHERS: Final = 0o077


class ForeignFolderError(UsageError):
    """The folder of a stack is not this user's alone."""


@contextmanager
def locked(folder: Path, *, on_wait: Callable[[], None]) -> Iterator[None]:
    """Make the folder and hold its lock while the body runs; an empty one is removed at the end.

    The body must not remove the folder itself: another command would lock the next one.
    Where another command holds it, `on_wait` is called once and this one waits.

    Raises:
        ForeignFolderError: the folder is another user's, a link, or open to others.
    """
    lock = _locked(folder, on_wait)
    try:
        yield
    finally:
        with suppress(OSError):
            folder.rmdir()
        os.close(lock)


def empty(folder: Path) -> None:
    """Remove all that is in the folder."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def require_own(folder: Path) -> None:
    """Check a folder that may be there.

    Raises:
        ForeignFolderError: it is another user's, a link, or open to others.
    """
    with suppress(FileNotFoundError):
        _refuse_foreign(folder, folder.lstat())


def _locked(folder: Path, on_wait: Callable[[], None]) -> int:
    told = False
    while True:
        lock = _lock_now(folder)
        if lock is not None:
            return lock
        if not told:
            on_wait()
        told = True
        time.sleep(_POLL_S)


def _lock_now(folder: Path) -> int | None:
    """Lock the folder; None where another command has it, or has just removed it."""
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    require_own(folder)
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    with suppress(BlockingIOError, FileNotFoundError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _refuse_foreign(folder, os.fstat(descriptor))
        if os.fstat(descriptor).st_ino == folder.stat().st_ino:
            return descriptor
    os.close(descriptor)
    return None


def _refuse_foreign(folder: Path, found: os.stat_result) -> None:
    if (
        not stat.S_ISDIR(found.st_mode)
        or found.st_uid != os.geteuid()
        or stat.S_IMODE(found.st_mode) & _OTHERS
    ):
        raise ForeignFolderError(
            f"{folder} must be a folder of yours with mode 0700, for what this stack keeps while"
            " it runs; remove it, or set SLUICE_VAR to another folder"
        )
