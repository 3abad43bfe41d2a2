"""What the log keeper does: log files have a bound, and files of a running stack stay young."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from deploy.local.keep_logs import bound_all, bound_removed, mark_used
from deploy.local.launch import identity_of, write_identity


def test_a_full_log_is_emptied_in_place_and_older_ones_make_room(tmp_path: Path) -> None:
    """Its writer goes on with the same file; what is not too long is left alone."""
    (tmp_path / "short.log").write_text("short")
    with (tmp_path / "a.log").open("ab", buffering=0) as log:
        for number in range(4):
            log.write(f"{number}".encode() * 11)
            bound_all(tmp_path, bytes_max=10, kept=2)
        log.write(b"more")

    found = {path.name: path.read_text() for path in tmp_path.iterdir()}

    assert found == {
        "a.log": "more",
        "a.log.1": "3" * 11,
        "a.log.2": "2" * 11,
        "short.log": "short",
    }


def test_files_that_are_rarely_read_are_marked_as_used(tmp_path: Path) -> None:
    """A machine that removes what is old in /tmp leaves a running stack alone."""
    old = tmp_path / "secrets" / "nats.conf"
    old.parent.mkdir()
    old.touch()
    os.utime(old, (1.0, 1.0))

    mark_used(tmp_path)

    assert min(old.stat().st_atime, old.stat().st_mtime) > 1.0


def test_a_log_whose_folder_was_removed_has_a_bound_too(tmp_path: Path) -> None:
    """It has no name any more, and takes room for as long as its writer lives."""
    file = tmp_path / "a.log"
    with file.open("ab", buffering=0) as log:
        writer = subprocess.Popen([sys.executable, "-c", "input()"], stdin=-1, stdout=log)
        write_identity(tmp_path / "a.json", identity_of(writer.pid))
        log.write(b"x" * 11)
        bound_removed(tmp_path, bytes_max=10)
        with_its_name = os.fstat(log.fileno()).st_size
        file.unlink()
        bound_removed(tmp_path, bytes_max=10)
        without_it = os.fstat(log.fileno()).st_size
        writer.communicate(b"\n")

    assert (with_its_name, without_it) == (11, 0)
