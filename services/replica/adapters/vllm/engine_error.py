"""Why an engine core failed, as our plugin wrote it down in the engine's folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from libs.errors import ControlPlaneError
from libs.errors.traces import last_exception

ERROR_FILE: Final = "engine-error.txt"
"""As in `sluice_vllm_plugin.start_error`, which imports nothing of ours."""


class EngineFailedError(ControlPlaneError):
    """The engine core failed."""


def engine_error(folder: Path) -> str:
    """Return the engine core's last error in one line or a few; empty when it wrote none."""
    try:
        return last_exception((folder / ERROR_FILE).read_text(errors="replace"))
    except OSError:
        return ""


@contextmanager
def telling_engine_errors(folder: Path) -> Iterator[None]:
    """Have what fails while the body runs say why, when the engine core has said so.

    vLLM itself says only that a process ended, and refers to the log.

    Raises:
        EngineFailedError: in place of vLLM's own error.
    """
    try:
        yield
    except RuntimeError as exc:
        why = engine_error(folder)
        if not why:
            raise
        raise EngineFailedError(why) from exc
