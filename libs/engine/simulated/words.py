"""Which tokens simulated texts are made of: plain words, so that every token is visible text.

A token that is half a character would keep the server's detokeniser waiting for the other half,
and an end-of-text token would end a stream that a benchmark asked to be longer.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

WORDS_MIN: Final = 256
"""A vocabulary with fewer plain words is used as it is, without its special tokens."""

_WORD_STARTS: Final = ("Ġ", "▁")
"""How vocabularies write the space before a word: byte-level BPE, SentencePiece."""


def choose_words(vocabulary: Mapping[str, int], *, special: Collection[int]) -> tuple[int, ...]:
    """Return the tokens for texts, in ascending order.

    Raises:
        ValueError: the vocabulary has no token but special ones.
    """
    plain = [token for text, token in vocabulary.items() if _is_word(text)]
    chosen = sorted(set(plain).difference(special))
    if len(chosen) < WORDS_MIN:
        chosen = sorted(set(vocabulary.values()).difference(special))
    if not chosen:
        message = "the tokenizer has no ordinary token"
        raise ValueError(message)
    return tuple(chosen)


def _is_word(text: str) -> bool:
    letters = text[1:]
    return text.startswith(_WORD_STARTS) and letters.isascii() and letters.isalpha()
