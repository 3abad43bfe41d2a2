"""Choosing between the archive of the rules and the stand-ins."""

import socket
from pathlib import Path

import pytest

from tools.build.host import choose_standins, reachable


@pytest.fixture
def distribution_bazel(tmp_path: Path) -> str:
    """A Bazel as Debian builds it."""
    program = tmp_path / "bazel"
    program.write_text("#!/bin/sh\necho 'bazel no_version'\n")
    program.chmod(0o755)
    return str(program)


def test_a_distribution_s_bazel_gets_the_stand_ins(distribution_bazel: str) -> None:
    """It would ask for repositories that no rule set of its age offers."""
    standins, why = choose_standins(distribution_bazel, {})

    assert standins
    assert "distribution" in why


@pytest.mark.parametrize(("value", "expected"), [("1", True), ("0", False)])
def test_the_user_has_the_last_word(
    distribution_bazel: str,
    value: str,
    expected: bool,  # noqa: FBT001 - a table of cases
) -> None:
    """BAZEL_OFFLINE outweighs what the machine looks like."""
    standins, why = choose_standins(distribution_bazel, {"BAZEL_OFFLINE": value})

    assert (standins, why) == (expected, f"BAZEL_OFFLINE={value}")


def test_a_host_that_refuses_is_not_reachable() -> None:
    """A port that nobody listens on any more."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        while_open = reachable(address)

    assert (while_open, reachable(address)) == (True, False)
