"""Which HAProxy is taken, and what is said when none is good enough."""

from __future__ import annotations

from pathlib import Path

import pytest

from libs.errors import UsageError
from libs.haproxy.binary import check_haproxy, find_haproxy


def program(folder: Path, says: str) -> Path:
    """Write a program that says one line."""
    path = folder / "haproxy"
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("says", "version"),
    [
        ("HAProxy version 2.8.25-5cf5d0683 2026/06/26 - https://haproxy.org/", "2.8.25"),
        ("HAProxy version 3.0.5-8e879a52e 2024/09/19 - https://haproxy.org/", "3.0.5"),
        ("HAProxy version 3.5-dev5-1 2026/01/01", "3.5"),
    ],
)
def test_new_enough_programs_are_taken(tmp_path: Path, says: str, version: str) -> None:
    """From 2.8 on."""
    assert check_haproxy(program(tmp_path, says)).version == version


@pytest.mark.parametrize(
    ("says", "reason"),
    [
        ("HAProxy version 2.6.12-1+deb12u4 2026/01/01", "2.8 or newer is needed"),
        ("HA-Proxy version 1.8.27", "is no HAProxy"),
        ("hello", "is no HAProxy"),
    ],
)
def test_others_are_refused_in_one_line(tmp_path: Path, says: str, reason: str) -> None:
    """The line says which program it is about and what is needed."""
    path = program(tmp_path, says)

    with pytest.raises(UsageError, match=reason) as refusal:
        find_haproxy(path)

    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_named_program_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """Whoever names one wants that one and no other."""
    with pytest.raises(UsageError, match="does not run"):
        find_haproxy(tmp_path / "nothing")


def test_too_old_a_program_on_path_gives_way_to_the_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Debian's 2.6 must not keep Sluice from working."""
    old = program(tmp_path, "HAProxy version 2.6.12-1+deb12u4 2026/01/01")
    monkeypatch.setenv("PATH", str(old.parent), prepend=":")

    assert find_haproxy(None).path != old
