"""How much one request may ask for: every field that multiplies work counts."""

from __future__ import annotations

import json

import pytest

from services.replica.adapters.http.body_model import pairs_in
from services.replica.domain.work import WorkLimits, excess_of

LIMITS = WorkLimits(
    sequences_max=8, inputs_max=4, messages_max=2, biases_max=2, grammar_bytes_max=100
)
MESSAGE = {"role": "user", "content": "a"}


def excess(body: dict[str, object]) -> str | None:
    """Return what a body has too much of."""
    pairs = pairs_in(json.dumps(body).encode())
    assert pairs is not None
    return excess_of(dict(pairs), LIMITS)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"n": 8, "prompt": "a"},
        {"n": None, "prompt": ["a"] * 8},
        {"n": 2, "prompt": ["a"] * 4},
        {"prompt": [1] * 1_000, "n": 8},
        {"n": "many", "prompt": {"a": 1}},
        {"n": 1e400},
        {"input": ["a"] * 4},
        {"input": [1] * 1_000},
        {"messages": [MESSAGE] * 2},
        {"messages": "a"},
        {"logit_bias": {"1": 1, "2": 2}},
        {"response_format": {"type": "json_object"}, "structured_outputs": None},
    ],
)
def test_what_is_within_the_limits_or_has_a_wrong_type_is_vllms(body: dict[str, object]) -> None:
    """A list of token ids is one prompt, however long."""
    assert excess(body) is None


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"n": 9}, "9 sequences (n times prompts), and the limit is 8"),
        ({"n": 16_384, "prompt": ["a"] * 1_024}, "16777216 sequences"),
        ({"n": "9"}, "9 sequences"),
        ({"n": 9.0}, "9 sequences"),
        ({"n": 3, "prompt": [[1], [2], [3]]}, "9 sequences"),
        ({"n": 3, "prompt_embeds": ["a"] * 3}, "9 sequences"),
        ({"n": 9, "use_beam_search": True}, "9 sequences"),
        ({"prompt": ["a"] * 9}, "9 sequences"),
        ({"input": ["a"] * 5}, "5 inputs, and the limit is 4"),
        ({"input": [[1]] * 5}, "5 inputs"),
        ({"text_1": "a", "text_2": ["a"] * 4}, "5 inputs"),
        ({"query": "a", "documents": ["a"] * 5}, "5 inputs"),
        ({"messages": [MESSAGE] * 3}, "3 messages, and the limit is 2"),
        ({"logit_bias": {"1": 1, "2": 1, "3": 1}}, "3 entries of logit_bias"),
        ({"response_format": {"schema": "a" * 100}}, "bytes of a schema or grammar"),
        ({"structured_outputs": {"regex": "a" * 100}}, "and the limit is 100"),
        ({"text": {"format": {"schema": "a" * 100}}}, "and the limit is 100"),
    ],
)
def test_what_is_beyond_a_limit_is_told_with_the_limit(body: dict[str, object], said: str) -> None:
    """In numbers, so that a client can split its request."""
    found = excess(body)

    assert found is not None
    assert said in found


def test_of_two_equal_members_the_last_one_counts() -> None:
    """As for vLLM."""
    pairs = pairs_in(b'{"n": 1, "n": 9}')
    assert pairs is not None

    assert excess_of(dict(pairs), LIMITS) is not None
