"""Lengths are what the user wrote.

Invariants: a distribution survives being written and read; every draw is a possible length.
"""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.errors import UsageError
from tools.bench.load.lengths import (
    TOKENS_MAX,
    Exponential,
    Fixed,
    Lengths,
    LogNormal,
    Uniform,
    draw,
    parse_lengths,
)

TOKENS = st.integers(1, TOKENS_MAX)
MEANS = st.floats(1, TOKENS_MAX)
LENGTHS: st.SearchStrategy[Lengths] = st.one_of(
    st.builds(Fixed, tokens=TOKENS),
    st.tuples(TOKENS, TOKENS).map(lambda pair: Uniform(low=min(pair), high=max(pair))),
    st.builds(LogNormal, mean=MEANS, sigma=st.floats(0, 5)),
    st.builds(Exponential, mean=MEANS),
)


@given(LENGTHS)
def test_a_distribution_survives_being_written_and_read(lengths: Lengths) -> None:
    """Results name the distribution in the form that the option takes."""
    assert parse_lengths(str(lengths)) == lengths


@given(LENGTHS, st.integers())
def test_every_draw_is_a_possible_length(lengths: Lengths, seed: int) -> None:
    """No distribution asks for no token, or for more than anybody could want."""
    assert 1 <= draw(lengths, Random(seed)) <= TOKENS_MAX


@pytest.mark.parametrize("text", ["lognormal:200:1", "exponential:200", "uniform:100:300", "200"])
def test_the_mean_is_of_the_tokens_themselves(text: str) -> None:
    """A log-normal's mean is not that of its logarithm."""
    random, lengths = Random(1), parse_lengths(text)

    mean = sum(draw(lengths, random) for _ in range(20_000)) / 20_000

    assert mean == pytest.approx(200, rel=0.05)


@pytest.mark.parametrize(
    "text", ["", "many", "0", "-3", "1.5", "nan", "uniform:9", "uniform:9:3", "lognormal:10:99"]
)
def test_what_is_no_length_is_refused_with_the_forms(text: str) -> None:
    """The user learns what to write."""
    with pytest.raises(UsageError, match="uniform:LOW:HIGH"):
        parse_lengths(text)
