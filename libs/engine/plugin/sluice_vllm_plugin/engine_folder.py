"""Keeps what vLLM puts into the file system in one folder, which its owner removes.

vLLM leaves sockets in the folder for temporary files even when it ends in order, and shared memory
when its processes and Python's resource tracker are killed together.
"""

from __future__ import annotations

import os
import tempfile
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

from sluice_vllm_plugin.hooks import Failures, Hook, install

FOLDER_VARIABLE = "SLUICE_ENGINE_FOLDER"
"""Names the folder; without it, and on machines without the folder, nothing changes."""

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where the kernel shows it (shm_overview(7))


def use_engine_folder() -> None:
    """Have this process put its temporary files into the folder; safe to repeat.

    vLLM asks `tempfile` for the folder of its sockets each time, and Ray sets environment variables
    of a worker after it has started, so a variable such as TMPDIR would come too late.
    """
    folder = os.environ.get(FOLDER_VARIABLE)  # tidy: allow environment - vLLM passes no arguments
    if not folder or not Path(folder).is_dir():
        return
    tempfile.tempdir = folder
    install((Hook(owner=SharedMemory, name="__init__", watcher=_note),), Failures())


def _note(
    _result: None,
    segment: SharedMemory,
    _name: str | None = None,
    create: bool = False,  # noqa: FBT001, FBT002 - as the watched method has it
    *_: object,
    **__: object,
) -> None:
    """Note a new segment in the folder; its inode tells it from a later one of the same name."""
    if create:
        inode = (SHARED_MEMORY / segment.name).stat().st_ino
        (Path(tempfile.gettempdir()) / f"{segment.name}.{inode}.shm").touch()
