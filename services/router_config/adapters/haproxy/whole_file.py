"""Replaces a file whole or not at all, so that a full disk never leaves half of one."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def replace_file(path: Path, content: bytes) -> None:
    """Write a file of mode 0600 beside `path`, then put it in its place.

    Raises:
        OSError: it cannot be written; what was at `path` is as it was.
    """
    beside = path.with_name(f".{path.name}.new")
    try:
        _write_new(beside, content)
        beside.replace(path)
    except OSError:
        with suppress(OSError):
            beside.unlink()
        raise


def _write_new(path: Path, content: bytes) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
