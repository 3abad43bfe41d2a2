"""The folder of an engine: removed when its owner ends in order, and by the next one otherwise.

Owners are real processes, since only the death of a process releases its lock.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

import pytest

from libs.engine.engine_folder import FOLDER_VARIABLE, SHARED_MEMORY, engine_folder, remove_dead
from libs.errors import UsageError
from libs.testing.real_haproxy import short_folder

ROOT = Path(__file__).absolute().parents[3]

OWNER = """
import sys
from pathlib import Path
from libs.engine.engine_folder import engine_folder
with engine_folder(Path(sys.argv[1]), "0000000a") as folder:
    (folder / "file").touch()
    print(folder, flush=True)
    sys.stdin.read()
"""

ENGINE = """
import sys, tempfile
from multiprocessing.shared_memory import SharedMemory
from sluice_vllm_plugin.engine_folder import use_engine_folder
use_engine_folder()
use_engine_folder()
segment = SharedMemory(create=True, size=64)
SharedMemory(name=segment.name).close()
print(tempfile.gettempdir(), segment.name, flush=True)
sys.stdin.read()
"""


@contextmanager
def program(text: str, *words: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """Run a program in a session of its own until the body ends."""
    paths = [str(ROOT), str(ROOT / "libs" / "engine" / "plugin"), *filter(None, sys.path)]
    running = subprocess.Popen(
        [sys.executable, "-c", text, *words],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield running
    finally:
        running.communicate(timeout=30)


def said(running: subprocess.Popen[str]) -> list[str]:
    """Return the words of a program's first line."""
    assert running.stdout is not None
    return running.stdout.readline().split()


@pytest.fixture
def base() -> Iterator[Path]:
    """Return a folder that does not exist yet, in which owners make theirs."""
    with short_folder() as folder:
        yield folder / "base"


def test_an_owner_removes_its_folder_with_all_that_is_in_it(base: Path) -> None:
    """Only its user can enter either folder."""
    with engine_folder(base, "0000000a") as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "file").touch()
        modes = [oct(path.stat().st_mode & 0o777) for path in (base, folder)]

    assert modes == ["0o700", "0o700"]
    assert list(base.iterdir()) == []


def test_the_next_owner_removes_what_a_killed_one_left(base: Path) -> None:
    """A lock ends with its process."""
    with program(OWNER, str(base)) as killed:
        (folder,) = map(Path, said(killed))
        killed.kill()

    left = folder.exists()
    with engine_folder(base, "0000000b") as own:
        found = list(base.iterdir())

    assert left
    assert found == [own]


def test_the_folder_of_a_living_owner_stays(base: Path) -> None:
    """Even while other owners start and end."""
    with program(OWNER, str(base)) as living:
        (folder,) = map(Path, said(living))
        with engine_folder(base, "0000000b"):
            pass
        remove_dead(base)
        found = list(folder.iterdir())

    assert found == [folder / "file"]
    assert list(base.iterdir()) == []


def test_nothing_else_in_the_base_is_touched(base: Path) -> None:
    """It may be the folder for every program's temporary files."""
    others = [base / "sluice-0-0123abcd", base / "sluice-0000000", base / "a"]
    for folder in others:
        folder.mkdir(parents=True)
    (base / "sluice-0000000c").symlink_to(base / "a")
    (base / "sluice-0000000d").touch()

    with engine_folder(base, "0000000b"):
        pass

    assert set(base.iterdir()) == {*others, base / "sluice-0000000c", base / "sluice-0000000d"}


def test_a_base_that_is_not_there_has_nothing_to_remove(base: Path) -> None:
    """No replica may ever have started."""
    remove_dead(base)

    assert not base.exists()


def test_a_path_without_room_for_vllms_sockets_is_refused(base: Path) -> None:
    """Before anything is made, and with the number of bytes that are too many."""
    with (
        pytest.raises(UsageError, match="bytes too long for sockets"),
        engine_folder(base / ("x" * 50), "0000000a"),
    ):
        pass

    assert not base.exists()


def test_shared_memory_of_the_dead_goes_with_their_folder(base: Path) -> None:
    """Python's resource tracker would remove it, unless it is killed together with its process."""
    with engine_folder(base, "0000000a") as folder:
        with program(ENGINE, **{FOLDER_VARIABLE: str(folder)}) as engine:
            temporary, name = said(engine)
            os.killpg(engine.pid, signal.SIGKILL)
        notes = [note.name.split(".")[0] for note in folder.iterdir()]
        left = (SHARED_MEMORY / name).exists()

    assert temporary == str(folder)
    assert notes == [name]
    assert left
    assert not (SHARED_MEMORY / name).exists()


def test_a_later_segment_of_the_same_name_stays(base: Path) -> None:
    """Its inode is another one."""
    segment = SharedMemory(create=True, size=64)
    try:
        with engine_folder(base, "0000000a") as folder:
            (folder / f"{segment.name}.1.shm").touch()
            (folder / "gone.1.shm").touch()

        assert (SHARED_MEMORY / segment.name).exists()
    finally:
        segment.close()
        segment.unlink()


def test_a_process_on_a_machine_without_the_folder_works_as_ever(base: Path) -> None:
    """Ray may place a worker on another machine, with the replica's environment."""
    with program(ENGINE, **{FOLDER_VARIABLE: str(base), "TMPDIR": "/tmp"}) as engine:
        temporary, _ = said(engine)

    assert temporary == "/tmp"
    assert not base.exists()


def test_a_note_that_nobody_can_read_keeps_no_folder(tmp_path: Path) -> None:
    """Or a dead owner's folder would end every later owner's start."""
    dead = tmp_path / "sluice-0000dead"
    dead.mkdir()
    (dead / "other.shm").touch()
    (dead / "psm_x.twelve.shm").touch()

    remove_dead(tmp_path)

    assert not dead.exists()
