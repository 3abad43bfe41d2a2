"""The packages that only the peers need, installed once into a folder of their own."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from libs.errors import TransientError

_PIP_TIMEOUT_S: Final = 900.0


class PeerPackagesError(TransientError):
    """The peers' packages could not be installed."""


def ready_packages(lock_file: Path, folder: Path, say: Callable[[str], None]) -> Path:
    """Return the import folder of a lock file's packages, below `folder`; install it at first.

    Raises:
        PeerPackagesError: pip failed.
    """
    target = folder / hashlib.sha256(lock_file.read_bytes()).hexdigest()[:12]
    if not target.exists():
        say("installing the peers' packages")
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            _install(lock_file, Path(scratch) / "made")
            (Path(scratch) / "made").rename(target)
    return target


def _install(lock_file: Path, target: Path) -> None:
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--require-hashes", "--quiet"]
    command += ["--target", str(target), "--requirement", str(lock_file)]
    try:
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=_PIP_TIMEOUT_S
        )
    except subprocess.TimeoutExpired as exc:
        raise PeerPackagesError(timeout_s=_PIP_TIMEOUT_S) from exc
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise PeerPackagesError(pip=said, lock_file=str(lock_file))
