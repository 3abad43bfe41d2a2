"""`sluice logs`: print and follow the log files of the stack's processes."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from libs.errors import UsageError

_POLL_S: Final = 0.25


class NoLogError(UsageError):
    """There is no such log."""


def services(folder: Path) -> list[str]:
    """Name the services that have a log."""
    return sorted(path.stem for path in folder.glob("*.log"))


def files_for(folder: Path, service: str | None) -> list[Path]:
    """Return one service's log file, or all of them.

    Raises:
        NoLogError: the service has none; the message lists those that have.
    """
    known = services(folder)
    if service is None:
        return [folder / f"{name}.log" for name in known]
    if service not in known:
        listed = ", ".join(known) or "none yet; run `./sluice up`"
        raise NoLogError(f"no log of {service!r}; there is: {listed}")
    return [folder / f"{service}.log"]


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
