"""Texts are made of plain words where the vocabulary has enough of them."""

import pytest

from libs.engine.simulated.words import WORDS_MIN, choose_words


def test_plain_words_are_chosen_from_a_large_vocabulary() -> None:
    """No special token, no half character, no punctuation, nothing that continues a word."""
    letters = [f"Ġ{a}{b}" for a in "abcdefghijklmnopqrst" for b in "abcdefghijklmnopqrst"]
    vocabulary = {text: number for number, text in enumerate(letters)}
    others = {"<|end|>": 900, "ing": 901, "Ġ!": 902, "Ġé": 903, "Ġ": 904, "Ã": 905, "Ġend": 906}

    words = choose_words({**vocabulary, **others}, special=[900, 906])

    assert words == tuple(range(len(letters)))


def test_sentencepiece_words_count_too() -> None:
    """The space before a word is written in two ways."""
    vocabulary = {f"▁{'a' * n}": n for n in range(1, WORDS_MIN + 1)}

    assert len(choose_words(vocabulary, special=[])) == WORDS_MIN


def test_a_small_vocabulary_is_used_without_its_special_tokens() -> None:
    """A tokenizer made for tests serves as well."""
    words = choose_words({"<s>": 0, "</s>": 1, "a": 2, "b": 3}, special=[0, 1])

    assert words == (2, 3)


def test_a_vocabulary_of_special_tokens_is_refused() -> None:
    """There would be nothing to say."""
    with pytest.raises(ValueError, match="no ordinary token"):
        choose_words({"<s>": 0}, special=[0])
