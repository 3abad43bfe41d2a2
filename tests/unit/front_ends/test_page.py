"""docs/FRONT_ENDS.md names what the table and the list of differences have."""

from __future__ import annotations

import re
from pathlib import Path

from libs.haproxy.front_ends import TABLE
from libs.testing.front_ends.known import KNOWN

PAGE = Path(__file__).absolute().parents[3] / "docs" / "FRONT_ENDS.md"


def first_cells() -> list[str]:
    """Return the first cell of each row of the page's tables."""
    lines = PAGE.read_text().splitlines()
    return [line.split("|")[1].strip() for line in lines if line.startswith("| ")]


def test_every_member_in_the_table_is_on_the_page() -> None:
    """A person learns there which requests cost more CPU time."""
    listed = {name for cell in first_cells() for name in re.findall(r"`([a-z_]+)`", cell)}

    assert {*TABLE.values, *TABLE.beginnings} - listed == set()


def test_every_difference_that_is_not_routed_is_on_the_page() -> None:
    """Under its own title, with the reason."""
    assert {known.title for known in KNOWN} - set(first_cells()) == set()
