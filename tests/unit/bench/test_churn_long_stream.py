"""The long stream is whole only with every token in its order and [DONE] after the last.

Invariant: whatever is lost, repeated or cut, the stream is not whole.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tools.bench.churn.long_stream import StreamCheck


def token(number: int) -> str:
    """Return one line as a fake replica writes it."""
    return f'data: {{"choices": [{{"index": 0, "delta": {{"content": "t{number} "}}}}]}}'


def read(lines: list[str], *, why: str = "") -> StreamCheck:
    """Return the check of a stream that ends after these lines."""
    check = StreamCheck()
    for line in lines:
        check.line(line)
    check.end(why)
    return check


WHOLE = [line for number in range(6) for line in (token(number), "")]
DONE = "data: [DONE]"


def test_a_whole_stream_is_whole() -> None:
    """Empty lines between events mean nothing."""
    found = read([*WHOLE, DONE])

    assert (found.is_whole, found.tokens, found.fault) == (True, 6, "")


def test_a_stream_without_done_is_not_whole() -> None:
    """HTTP ended well, the stream did not."""
    found = read(WHOLE)

    assert not found.is_whole
    assert "no [DONE] after 6 tokens" in found.fault


def test_a_broken_connection_says_why() -> None:
    """The first fault stays."""
    found = read(WHOLE, why="broke")

    assert (found.is_whole, found.fault) == (False, "broke")


@given(st.lists(st.integers(0, 5), max_size=12).filter(lambda order: order != sorted(set(order))))
def test_tokens_out_of_order_are_noticed(order: list[int]) -> None:
    """Lost, repeated or swapped: the line is named."""
    found = read([*map(token, order), DONE])

    assert not found.is_whole
    assert found.fault.startswith("token ")


def test_what_is_no_token_is_noticed() -> None:
    """An error inside a stream that has begun."""
    found = read([token(0), 'data: {"error": "x"}', DONE])

    assert not found.is_whole
    assert "error" in found.fault
