"""A disk of a few MiB of a test's own, for filling it: a tmpfs in a namespace of mounts."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_HOLD = 'mount -t tmpfs -o size="$2" none "$1" && echo ready && exec sleep infinity'


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallDisk:
    """A mounted disk.

    Attributes:
        inside: where it is for programs in its namespace, which begin with `enter`.
        outside: the same folder for all other programs.
        enter: the words before a command that runs where the disk is.
    """

    inside: Path
    outside: Path
    enter: tuple[str, ...]

    def fill(self) -> None:
        """Leave no room at all."""
        with suppress(OSError):
            file = os.open(self.outside / "filling", os.O_CREAT | os.O_WRONLY)
            try:
                while True:
                    os.write(file, bytes(4096))
            finally:
                os.close(file)

    def make_room(self) -> None:
        """Take back what `fill` wrote."""
        (self.outside / "filling").unlink()


@contextmanager
def small_disk(folder: Path, *, size_mib: int) -> Iterator[SmallDisk | str]:
    """Mount a disk on a folder; where this machine does not let us, yield why.

    It needs no privilege but a namespace of users of one's own, which some machines forbid.
    """
    program = shutil.which("unshare")
    if program is None or shutil.which("nsenter") is None:
        yield "util-linux's unshare and nsenter are not installed"
        return
    words = [program, "-Urm", "sh", "-c", _HOLD, "sh", str(folder), f"{size_mib}m"]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as holder:
        try:
            said = holder.stdout.readline().strip() if holder.stdout else ""
            yield _disk(folder, holder.pid) if said == "ready" else f"no disk here: {said}"
        finally:
            holder.kill()


def _disk(folder: Path, holder_pid: int) -> SmallDisk:
    return SmallDisk(
        inside=folder,
        outside=Path(f"/proc/{holder_pid}/root{folder}"),
        enter=("nsenter", "-t", str(holder_pid), "-U", "-m", "--preserve-credentials"),
    )
