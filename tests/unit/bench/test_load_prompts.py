"""Prompts have the wanted number of words and share exactly the wanted prefixes.

Invariants: one word per token; no two prompts share a beginning by accident; equal leading blocks
give equal beginnings, and the first different block ends the sharing within its first words.
"""

import json

from hypothesis import given
from hypothesis import strategies as st

from tools.bench.load.prompts import (
    SALT_WORDS,
    WORDS,
    block_prompt,
    prefixed_prompt,
    unique_prompt,
)

TOKENS = st.integers(1, 20_000)
NUMBERS = st.integers(0, 1 << 40)
BLOCKS = st.lists(st.integers(0, 1 << 40), min_size=1, max_size=5)
BLOCK_TOKENS = 32


def of_blocks(blocks: list[int], tokens: int) -> list[bytes]:
    """Return the words of a prompt made of blocks."""
    prompt = block_prompt(tokens, blocks=tuple(blocks), block_tokens=BLOCK_TOKENS, seed=0)
    return prompt.split(b" ")


def shared(first: list[bytes], second: list[bytes]) -> int:
    """Count the leading words that two prompts share."""
    pairs = zip(first, second, strict=False)
    return next((index for index, (one, two) in enumerate(pairs) if one != two), len(first))


def test_every_byte_of_a_salt_has_its_own_word() -> None:
    """Otherwise two salts could be spelled alike."""
    assert len(set(WORDS)) == 256


@given(TOKENS, NUMBERS)
def test_a_prompt_has_one_word_for_each_token(tokens: int, number: int) -> None:
    """And needs no escape in JSON."""
    prompt = unique_prompt(tokens, seed=0, number=number)

    assert len(prompt.split(b" ")) == tokens
    assert json.loads(b'"%b"' % prompt) == prompt.decode()


@given(NUMBERS, NUMBERS)
def test_two_prompts_differ_within_their_first_words(first: int, second: int) -> None:
    """A prefix cache must find nothing of the one in the other."""
    one, two = (unique_prompt(64, seed=0, number=number) for number in (first, second))

    assert first == second or shared(one.split(), two.split()) < SALT_WORDS


@given(TOKENS, NUMBERS)
def test_the_same_number_gives_the_same_prompt(tokens: int, number: int) -> None:
    """Whatever process makes it."""
    assert unique_prompt(tokens, seed=7, number=number) == unique_prompt(
        tokens, seed=7, number=number
    )


@given(st.integers(6, 200), st.integers(0, 300))
def test_a_shared_prefix_is_shared_and_nothing_more(tokens: int, prefix: int) -> None:
    """The prefix counts as part of the prompt."""
    one, two = (
        prefixed_prompt(tokens, prefix_tokens=prefix, seed=3, number=number).split(b" ")
        for number in (1, 2)
    )

    assert len(one) == len(two) == tokens
    assert min(prefix, tokens) <= shared(one, two) < min(prefix, tokens) + SALT_WORDS


@given(BLOCKS, BLOCKS, st.integers(0, BLOCK_TOKENS - SALT_WORDS))
def test_blocks_are_shared_as_their_hashes_say(
    first: list[int], second: list[int], cut: int
) -> None:
    """The last block of a prompt may be partial."""
    one = of_blocks(first, len(first) * BLOCK_TOKENS - cut)
    two = of_blocks(second, len(second) * BLOCK_TOKENS - cut)

    pairs = zip(first, second, strict=False)
    equal = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(first), len(second)))
    assert shared(one, two) >= min(equal * BLOCK_TOKENS, len(one), len(two))
    if first[equal : equal + 1] and second[equal : equal + 1]:
        assert shared(one, two) < equal * BLOCK_TOKENS + SALT_WORDS
