"""The failure table of the documentation is what the suite tests."""

import pytest

from tools.bench.chaos.failure_table import BEGIN, DOCUMENT, END, failure_table, replaced
from tools.bench.chaos.faults import catalogue


def test_the_documented_table_is_the_catalogues() -> None:
    """Run `python -m tools.bench.chaos.failure_table` after a change."""
    text = DOCUMENT.read_text()

    assert replaced(text, failure_table(catalogue())) == text


def test_every_kill_has_a_line_and_all_stops_share_one() -> None:
    """A heading, a rule, and one line for each."""
    kills = [each for each in catalogue() if not each.name.startswith("stop-")]

    assert len(failure_table(catalogue()).splitlines()) == 2 + len(kills) + 1


def test_only_what_stands_between_the_marks_is_replaced() -> None:
    """What people wrote stays."""
    assert replaced(f"a\n{BEGIN}\nold\n{END}\nb", "new") == f"a\n{BEGIN}\n\nnew\n\n{END}\nb"
    with pytest.raises(ValueError, match="must both be there"):
        replaced("nothing", "new")
