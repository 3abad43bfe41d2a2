"""One command at a time works on a stack, in a folder that its user alone can enter."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.local.places import run_folder
from libs.testing.free_port import free_port
from libs.testing.local_stack import ROOT, sluice, wait_until
from libs.testing.real_haproxy import short_folder
from tools.cli.stack.processes import marks
from tools.cli.stack.record import StackRecord, save
from tools.cli.stack.run_folder import ForeignFolderError, empty, locked, require_own

WITHIN_S = 20.0
RECORD = StackRecord(
    stack_id="no-process-has-this-mark",
    started_at=0.0,
    api_host="127.0.0.1",
    api_port=8080,
    stats_port=1,
    nats_port=2,
    ray_port=3,
    ray_agent_port=4,
    dashboard_port=5,
)


@pytest.fixture
def folder() -> Iterator[Path]:
    """Give the path of a folder that is not there yet."""
    with short_folder() as parent:
        yield parent / "run"


def nothing() -> None:
    """Wait without a word."""


def test_a_second_command_waits_for_the_first_and_says_so(folder: Path) -> None:
    """And finds what the first has left, not what it has removed."""
    said, seen = threading.Event(), []

    def second() -> None:
        with locked(folder, on_wait=said.set):
            seen.extend(sorted(path.name for path in folder.iterdir()))

    with locked(folder, on_wait=nothing):
        waiting = threading.Thread(target=second)
        waiting.start()
        assert said.wait(WITHIN_S)
        (folder / "old").mkdir()
        empty(folder)
        (folder / "new").touch()
        assert seen == []
    waiting.join(WITHIN_S)

    assert seen == ["new"]


def test_an_empty_folder_is_removed_and_the_next_command_makes_it_again(folder: Path) -> None:
    """The lock of a removed folder blocks no later command."""
    said, had_it = threading.Event(), []

    def second() -> None:
        with locked(folder, on_wait=said.set):
            had_it.append(folder.is_dir())

    with locked(folder, on_wait=nothing):
        waiting = threading.Thread(target=second)
        waiting.start()
        assert said.wait(WITHIN_S)
    waiting.join(WITHIN_S)

    assert had_it == [True]
    assert not folder.exists()


def test_a_folder_that_others_can_write_is_refused(folder: Path) -> None:
    """A link, a file, or one that others can enter: another user may have written what is in it."""
    elsewhere = folder.with_name("elsewhere")
    elsewhere.mkdir(mode=0o700)

    folder.symlink_to(elsewhere)
    with pytest.raises(ForeignFolderError):
        require_own(folder)
    folder.unlink()
    folder.mkdir(mode=0o755)
    with pytest.raises(ForeignFolderError, match="SLUICE_VAR"), locked(folder, on_wait=nothing):
        pass
    folder.chmod(0o700)
    require_own(folder)


def test_no_command_believes_a_strangers_folder(tmp_path: Path) -> None:
    """One line, exit code 2."""
    strange = run_folder(tmp_path / "var", user_id=os.geteuid())
    strange.mkdir(mode=0o777)
    strange.chmod(0o777)
    try:
        done = sluice("status", var=tmp_path / "var")
    finally:
        strange.rmdir()

    assert done.code == 2
    assert f"{strange} must be a folder of yours with mode 0700" in done.err


def test_down_waits_for_an_up_that_works(tmp_path: Path) -> None:
    """Two commands that end each other's processes would leave half of them."""
    place = run_folder(tmp_path / "var", user_id=os.geteuid())
    ended = threading.Event()

    def stop() -> None:
        sluice("down", var=tmp_path / "var")
        ended.set()

    with locked(place, on_wait=nothing):
        stopping = threading.Thread(target=stop)
        stopping.start()
        waited = not ended.wait(3.0)
    stopping.join(WITHIN_S)

    assert waited
    wait_until(ended.is_set, timeout_s=WITHIN_S, what="the end of `down`")
    assert not place.exists()


def test_a_stack_that_died_with_its_machine_is_started_anew(tmp_path: Path) -> None:
    """Its record says that it is up, and none of its processes is alive: the start is tried."""
    place = run_folder(tmp_path / "var", user_id=os.geteuid())
    save(replace(RECORD, complete=True), place / "stack.json")
    models = tmp_path / "models.yaml"
    models.write_text("models: [{name: a, source: ./nowhere}]")

    done = sluice(
        "up", "--detach", "--models", str(models), "--port", str(free_port()), var=tmp_path / "var"
    )

    assert done.code == 2
    assert "running already" not in done.out
    assert "nowhere" in done.err
    assert not place.exists()


def test_what_a_killed_up_has_begun_is_ended_first(tmp_path: Path) -> None:
    """Its record says that the start did not come to its end, and its lock is free."""
    place = run_folder(tmp_path / "var", user_id=os.geteuid())
    save(RECORD, place / "stack.json")
    models = tmp_path / "models.yaml"
    models.write_text("models: [{name: a, source: ./nowhere}]")

    with left_running(tmp_path / "var") as begun:
        done = sluice("up", "--detach", "--models", str(models), var=tmp_path / "var")
        ended = begun.wait(WITHIN_S)

    assert done.code == 2
    assert ended == -signal.SIGTERM
    assert not place.exists()


def test_down_finds_a_stack_all_of_whose_files_were_removed(tmp_path: Path) -> None:
    """By the mark in the environment of its processes."""
    with left_running(tmp_path / "var") as found, left_running(tmp_path / "var2") as other:
        done = sluice("down", var=tmp_path / "var")
        ended = found.wait(WITHIN_S)
        other_lives = other.poll() is None

    assert done.code == 0
    assert "was not running" not in done.out
    assert ended == -signal.SIGTERM
    assert other_lives


@contextmanager
def left_running(var: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process that carries the marks of a stack."""
    environment = {**os.environ, **marks(RECORD.stack_id, var)}
    program = [sys.executable, "-c", "import time; time.sleep(99)"]
    with subprocess.Popen(program, env=environment) as running:
        try:
            yield running
        finally:
            running.kill()


def test_the_script_names_the_same_folder(tmp_path: Path) -> None:
    """`./sluice` keeps the packages of a stack that runs."""
    named = re.search(r"run_folder\(\) \{.*?\n\}", (ROOT / "sluice").read_text(), re.DOTALL)
    assert named is not None

    done = subprocess.run(
        ["/bin/sh", "-c", f"{named[0]}\nrun_folder"],
        env={"SLUICE_VAR": "v", "PATH": os.environ["PATH"]},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )

    assert Path(done.stdout.strip()) == run_folder(tmp_path / "v", user_id=os.geteuid())
