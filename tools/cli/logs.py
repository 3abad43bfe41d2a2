"""`sluice logs`: print and follow the log files of the stack's processes."""

from __future__ import annotations

import shutil
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from libs.errors import UsageError
from tools.cli.stack.layout import Layout

REPLICA: Final = "replica"
"""Stands for all replicas: their processes are Ray's."""

_POLL_S: Final = 0.25


class NoLogError(UsageError):
    """There is no such log."""


def services(layout: Layout) -> list[str]:
    """Name the services that have a log."""
    own = [path.stem for path in layout.logs.glob("*.log")]
    return sorted([*own, REPLICA] if replica_logs(layout) else own)


def files_for(layout: Layout, service: str | None) -> list[Path]:
    """Return one service's log files, or those of all.

    Raises:
        NoLogError: the service has none; the message lists those that have.
    """
    known = services(layout)
    if service is None:
        return [path for name in known for path in _files(layout, name)]
    if service not in known:
        listed = ", ".join(known) or "none yet; run `./sluice up`"
        raise NoLogError(f"no log of {service!r}; there is: {listed}")
    return _files(layout, service)


def replica_logs(layout: Layout) -> list[Path]:
    """Return what replicas and their engines wrote: live ones, else those that were kept.

    Ray gives each of its worker processes files of its own, and most of them stay empty.
    """
    live = _written(layout.ray_temp / "session_latest" / "logs")
    return live or _written(layout.kept_replica_logs)


def keep_replica_logs(layout: Layout) -> None:
    """Copy the replicas' logs before Ray's folder is removed; older copies make room."""
    live = _written(layout.ray_temp / "session_latest" / "logs")
    if not live:
        return
    shutil.rmtree(layout.kept_replica_logs, ignore_errors=True)
    layout.kept_replica_logs.mkdir(parents=True)
    for path in live:
        shutil.copy(path, layout.kept_replica_logs)


def _files(layout: Layout, service: str) -> list[Path]:
    return replica_logs(layout) if service == REPLICA else [layout.logs / f"{service}.log"]


def _written(folder: Path) -> list[Path]:
    found = [path for kind in ("out", "err") for path in folder.glob(f"worker-*.{kind}")]
    return sorted(path for path in found if path.stat().st_size)


def tail(path: Path, lines: int) -> list[str]:
    """Return the last lines of a file."""
    with path.open(errors="replace") as file:
        return [line.rstrip("\n") for line in deque(file, maxlen=lines)]


def follow(paths: list[Path]) -> Iterator[tuple[str, str]]:
    """Yield (service, line) as lines are written, for ever; a rotated file is taken up anew."""
    places = {path: path.stat().st_size if path.exists() else 0 for path in paths}
    while True:
        for path in paths:
            yield from ((path.stem, line) for line in _new_lines(path, places))
        time.sleep(_POLL_S)


def _new_lines(path: Path, places: dict[Path, int]) -> list[str]:
    if not path.exists():
        return []
    if path.stat().st_size < places[path]:
        places[path] = 0
    with path.open("rb") as file:
        file.seek(places[path])
        data = file.read()
    whole, _, _ = data.rpartition(b"\n")
    if not whole:
        return []
    places[path] += len(whole) + 1
    return whole.decode(errors="replace").split("\n")
