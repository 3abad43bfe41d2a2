"""Which program counts as vLLM's Rust front end of the installed release."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from libs.engine import rust_front_end
from libs.engine.rust_front_end import PROGRAM, Missing, find_program


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of programs of an environment whose vLLM brings none."""
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(rust_front_end, "_package_folders", lambda: ())
    folder = tmp_path / "bin"
    folder.mkdir()
    return folder


def program(folder: Path, version: str) -> Path:
    """Write a program that says its version."""
    path = folder / PROGRAM
    path.write_text(f"#!/bin/sh\necho {PROGRAM} {version}\n")
    path.chmod(0o755)
    return path


def test_the_program_of_the_same_release_is_found(environment: Path) -> None:
    """A build's own part of the version does not matter."""
    path = program(environment, "0.32.0")

    assert find_program("0.32.0") == path
    assert find_program("0.32.0+cpu") == path


def test_vllms_own_program_comes_first(
    environment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the one that was built with the package."""
    program(environment, "0.32.0")
    package = tmp_path / "vllm"
    package.mkdir()
    own = program(package, "0.32.0")
    monkeypatch.setattr(rust_front_end, "_package_folders", lambda: (package,))

    assert find_program("0.32.0") == own


@pytest.mark.parametrize("said", ["0.33.0", "0.32.00", ""])
def test_another_release_is_refused_with_both_versions(environment: Path, said: str) -> None:
    """Its messages could mean something else."""
    program(environment, said)

    found = find_program("0.32.0")

    assert isinstance(found, Missing)
    assert "0.32.0" in found.reason
    assert str(environment) in found.reason


def test_a_missing_program_is_told(environment: Path) -> None:
    """The reason stands in the lease and in the status."""
    assert environment.exists()
    assert find_program("0.32.0") == Missing(reason="the program vllm-rs is not installed")


def test_a_program_that_cannot_run_is_refused(environment: Path) -> None:
    """Such as one for another machine."""
    path = environment / PROGRAM
    path.write_bytes(b"\x7fELF nothing")
    path.chmod(0o755)

    assert isinstance(find_program("0.32.0"), Missing)
