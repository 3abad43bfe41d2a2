"""Prompts of a wanted number of tokens, without a tokenizer: pure.

Every word is one token, with the space before it, in the vocabularies of today's byte-pair
tokenizers (checked with SmolLM2's). A server's `usage` says what it really counted.
A prompt begins with words that spell its salt, so that no two prompts share a prefix by accident,
and goes on with a slice of one fixed text: taking a slice is cheap however long the prompt is.
"""

from __future__ import annotations

from functools import cache
from random import Random
from typing import Final

WORDS: Final = tuple(
    b"""
able about above across act add after again against age ago air all almost alone along already
also always among amount and animal answer any appear area arm around art ask away baby back bad
ball bank bar base beat bed before began begin behind below best better between big bird black
blue board boat body book both box boy bring brought brown build built burn business but call
came can capital car care carry case catch cause cell cent center century chair chance change
check chief child choose church circle city class clean clear climb clock close cloud coast coat
cold color come company compare complete condition consider contain continue control cook cool
copy corn corner correct cost cotton could count country course cover create cross crowd cry
current cut dance dark day dead deal dear death decide deep degree depend describe desert design
determine develop die differ difficult direct discuss distance divide doctor dog dollar done door
double down draw dream dress drink drive drop dry during each ear early earth ease east eat edge
effect eight either electric element else end enemy energy engine enough enter equal even evening
event ever every exact example except excite exercise expect experience experiment eye face fact
fair fall family famous far farm fast father favor fear feed feel feet fell felt few field fight
figure fill final find fine finger finish fire first fish fit five flat floor flow flower fly
follow food foot for force forest form forward found four free fresh friend from front
""".split()
)
SALT_WORDS: Final = 5
_TEXT_WORDS: Final = 8192
_SALTS: Final = 1 << (8 * SALT_WORDS)
_MASK: Final = (1 << 64) - 1


def unique_prompt(tokens: int, *, seed: int, number: int) -> bytes:
    """Return the prompt of request `number`: different from its first words on from any other."""
    return _salted(tokens, salt=_mixed(_mixed(seed) ^ number))[1:]


def prefixed_prompt(tokens: int, *, prefix_tokens: int, seed: int, number: int) -> bytes:
    """Return a prompt whose first `prefix_tokens` are the same for every number."""
    prefix = min(prefix_tokens, tokens)
    shared = _salted(prefix, salt=_mixed(seed ^ _MASK))
    return (shared + _salted(tokens - prefix, salt=_mixed(_mixed(seed) ^ number)))[1:]


def block_prompt(tokens: int, *, blocks: tuple[int, ...], block_tokens: int, seed: int) -> bytes:
    """Return a prompt made of blocks: the same hashes give the same words, in every prompt."""
    whole, rest = divmod(tokens, block_tokens)
    parts = [_block(block_tokens, seed, block) for block in blocks[:whole]]
    if rest:
        parts.append(_block(rest, seed, blocks[whole]))
    return b"".join(parts)[1:]


def _block(tokens: int, seed: int, block: int) -> bytes:
    return _salted(tokens, salt=_mixed(_mixed(seed ^ 1) ^ block))


def _salted(tokens: int, *, salt: int) -> bytes:
    """Return words, a space before each: the salt's, then the fixed text from a place it picks."""
    digits = (salt % _SALTS).to_bytes(SALT_WORDS, "big")[:tokens]
    head = b"".join(b" " + WORDS[digit] for digit in digits)
    return head + _slice(salt >> (8 * SALT_WORDS), tokens - len(digits))


def _slice(start: int, words: int) -> bytes:
    text, ends = _text()
    first = start % _TEXT_WORDS
    parts: list[bytes] = []
    while words > 0:
        last = min(first + words, _TEXT_WORDS)
        parts.append(text[ends[first] : ends[last]])
        words -= last - first
        first = 0
    return b"".join(parts)


@cache
def _text() -> tuple[bytes, tuple[int, ...]]:
    """Return the fixed text and where each of its words begins; the last entry is its length."""
    random = Random(0)  # noqa: S311 - the same text every time
    words = [b" " + word for word in random.choices(WORDS, k=_TEXT_WORDS)]
    ends = [0]
    for word in words:
        ends.append(ends[-1] + len(word))
    return b"".join(words), tuple(ends)


def _mixed(value: int) -> int:
    """Spread a number over 64 bits. Source: splitmix64, Steele, Lea and Flood 2014."""
    value = (value + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)
