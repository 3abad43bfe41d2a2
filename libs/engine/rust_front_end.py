"""Finds vLLM's Rust front end, a program that must be of exactly the engine's own release.

The program and the engine core talk over positional messages without negotiation, so another
release of it must never be started. Source: vLLM 0.32, vllm/v1/utils.py,
RustFrontendProcessManager.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

PROGRAM: Final = "vllm-rs"

VERSION_TIMEOUT_S: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """There is no program that can be used; `reason` is one line for people."""

    reason: str


def find_program(release: str) -> Path | Missing:
    """Return the program of this release of vLLM, such as `0.32.0`.

    It comes with vLLM's wheel for GPUs; for CPUs `./sluice` puts it beside the environment's
    Python.
    """
    places = [folder / PROGRAM for folder in (*_package_folders(), Path(sys.prefix) / "bin")]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        return Missing(reason=f"the program {PROGRAM} is not installed")
    said = _version(found)
    expected = f"{PROGRAM} {release.partition('+')[0]}"
    if said != expected:
        return Missing(reason=f"{found} says {said!r}, and the engine needs {expected!r}")
    return found


def _package_folders() -> tuple[Path, ...]:
    spec = find_spec("vllm")
    return tuple(map(Path, spec.submodule_search_locations or ())) if spec else ()


def _version(program: Path) -> str:
    try:
        ran = subprocess.run(
            [program, "--version"],
            capture_output=True,
            text=True,
            timeout=VERSION_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        return f"{type(exc).__name__}: {exc}"
    return ran.stdout.strip()
