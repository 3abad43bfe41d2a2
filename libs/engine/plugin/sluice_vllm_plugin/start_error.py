"""Keeps why an engine core failed where its replica finds it: vLLM tells its parent nothing.

The parent learns that a process ended, and is referred to the log. What the log gets is written to
a file in the engine's folder as well, and the last error counts.
"""

from __future__ import annotations

import logging
import os
import traceback
from pathlib import Path

from sluice_vllm_plugin.engine_folder import FOLDER_VARIABLE

ERROR_FILE = "engine-error.txt"

ERROR_CHARS_MAX = 65_536
"""A traceback's end says what went wrong, so that is what is kept of a longer one."""

_ENGINE_CORE = "vllm.v1.engine.core"
"""The logger that reports an engine core's failure. Source: vLLM 0.32, `run_engine_core`."""


class ErrorKeeper(logging.Handler):
    """Writes the traceback of every logged exception to one file."""

    def __init__(self, path: Path) -> None:
        """Take the file."""
        super().__init__(level=logging.ERROR)
        self._path = path

    def emit(self, record: logging.LogRecord) -> None:
        """Write it; a full disk must not hide the error itself, so that it fails silently."""
        if not record.exc_info or record.exc_info[0] is None:
            return
        text = "".join(traceback.format_exception(*record.exc_info))
        try:
            self._path.write_text(text[-ERROR_CHARS_MAX:])
        except OSError:
            return


def keep_start_error() -> None:
    """Watch this process's log for the engine core's end; safe to repeat."""
    folder = os.environ.get(FOLDER_VARIABLE)  # tidy: allow environment - vLLM passes no arguments
    logger = logging.getLogger(_ENGINE_CORE)
    if not folder or any(isinstance(each, ErrorKeeper) for each in logger.handlers):
        return
    logger.addHandler(ErrorKeeper(Path(folder) / ERROR_FILE))
