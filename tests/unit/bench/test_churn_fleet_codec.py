"""What is said to the fleet arrives as it was said."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.bench.churn.fleet_codec import (
    Order,
    Verb,
    parse_answer,
    parse_order,
    render_answer,
    render_order,
)


@given(st.sampled_from(Verb), st.from_regex(r"churn-[0-9]{1,6}", fullmatch=True))
def test_an_order_is_read_as_it_was_written(verb: Verb, name: str) -> None:
    """One line each."""
    order = Order(verb=verb, name=name)

    line = render_order(order)

    assert parse_order(line) == order
    assert line.count("\n") == 1


@given(st.integers(min_value=0, max_value=65_535))
def test_an_answer_carries_the_port(port: int) -> None:
    """Zero where there is none to tell."""
    assert parse_answer(render_answer(port)) == port


@pytest.mark.parametrize("line", ["", "ok\n", "no 1\n", "ok one\n"])
def test_what_is_no_answer_is_refused(line: str) -> None:
    """A fleet that ended says nothing, and that must not look like a port."""
    with pytest.raises(ValueError, match="no answer of the fleet"):
        parse_answer(line)
