"""`./sluice bench executor` as a user runs it."""

from __future__ import annotations

from pathlib import Path

import pytest

from libs.testing.local_stack import sluice


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--tp", "two"), "--tp must be numbers from 1 to 8"),
        (("--tokens", "0"), "--tokens must be from 1 to"),
        (("--step-ms", "-1"), "--step-ms must be from 0 to 1000"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    tmp_path: Path, options: tuple[str, str], told: str
) -> None:
    """Before any server starts."""
    done = sluice("bench", "executor", *options, var=tmp_path / "var")

    (line,) = done.err.strip().splitlines()
    assert (done.code, told in line) == (2, True), line
