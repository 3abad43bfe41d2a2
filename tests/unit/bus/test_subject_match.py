"""How subjects match, by examples of the NATS documentation."""

from __future__ import annotations

import pytest

from libs.bus.subject_match import subject_matches


@pytest.mark.parametrize(
    ("pattern", "subject", "expected"),
    [
        ("load.m.r1", "load.m.r1", True),
        ("load.m.r1", "load.m.r2", False),
        ("load.m.*", "load.m.r1", True),
        ("load.*.r1", "load.m.r1", True),
        ("load.*", "load.m.r1", False),
        ("load.>", "load.m.r1", True),
        ("load.>", "load", False),
        (">", "load", True),
        ("load.m", "load.m.r1", False),
    ],
)
def test_wildcards_match_as_in_nats(pattern: str, subject: str, *, expected: bool) -> None:
    """`*` is one token, `>` is one or more at the end."""
    assert subject_matches(pattern, subject) is expected
