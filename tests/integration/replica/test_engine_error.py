"""An engine core's last error, from its own process to the reason in the replica's lease."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.replica.adapters.vllm.engine_error import (
    ERROR_FILE,
    EngineFailedError,
    engine_error,
    telling_engine_errors,
)

sys.path.append(str(Path(__file__).absolute().parents[3] / "libs" / "engine" / "plugin"))

import sluice_vllm_plugin.start_error as plugin

ENGINE_CORE = logging.getLogger("vllm.v1.engine.core")


@pytest.fixture
def engine_core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Be an engine core's process, with its folder."""
    monkeypatch.setenv("SLUICE_ENGINE_FOLDER", str(tmp_path))
    before = list(ENGINE_CORE.handlers)
    plugin.keep_start_error()
    plugin.keep_start_error()
    assert len(ENGINE_CORE.handlers) == len(before) + 1
    yield tmp_path
    ENGINE_CORE.handlers[:] = before


def fail_to_start(error: Exception) -> None:
    """Log what vLLM logs."""
    try:
        raise error
    except type(error):
        ENGINE_CORE.exception("EngineCore failed to start.")


def test_the_cause_takes_the_place_of_vllms_reference_to_the_log(engine_core: Path) -> None:
    """Of a traceback from a worker's process the last exception counts."""
    worker = 'ray::RayWorkerProc()\n  File "x.py"\nlib.rust.SafetensorError: incomplete metadata'
    fail_to_start(RuntimeError(worker))

    with pytest.raises(EngineFailedError) as told, telling_engine_errors(engine_core):
        raise RuntimeError("Engine core initialization failed. See root cause above.")

    assert str(told.value) == "SafetensorError: incomplete metadata"


def test_an_error_without_a_word_of_the_engine_core_stays_as_it_is(engine_core: Path) -> None:
    """Such as one that is raised before there is an engine core."""
    with pytest.raises(RuntimeError, match="no such architecture"):  # noqa: SIM117
        with telling_engine_errors(engine_core):
            raise RuntimeError("no such architecture")


def test_a_log_line_without_an_exception_is_no_error(engine_core: Path) -> None:
    """Many things are odd."""
    ENGINE_CORE.error("something is odd")

    assert engine_error(engine_core) == ""


def test_of_an_endless_traceback_the_end_is_kept(engine_core: Path) -> None:
    """The last line says what went wrong."""
    fail_to_start(ValueError("x" * 100_000 + "\nlib.OddError: the end"))

    assert (engine_core / ERROR_FILE).stat().st_size <= plugin.ERROR_CHARS_MAX
    assert engine_error(engine_core) == "OddError: the end"


def test_the_names_of_the_file_agree() -> None:
    """The plugin imports nothing of ours."""
    assert plugin.ERROR_FILE == ERROR_FILE
