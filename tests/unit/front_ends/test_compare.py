"""Comparing two front ends' answers.

Invariants: an answer is the same as itself; the cut of a stream into events means nothing; the
order of its parts, its text and its numbers do; a request that only Python answers, and one whose
answers differ, must be routed.
"""

from __future__ import annotations

import json

import pytest

from libs.testing.front_ends.compare import Answer, Difference, Kind, compare


def whole(tree: object, *, status: int = 200) -> Answer:
    """Return an answer in one piece of JSON."""
    return Answer(status=status, content_type="application/json", body=json.dumps(tree).encode())


def stream(*events: object, done: bool = True) -> Answer:
    """Return a stream of these events."""
    lines = [f"data: {json.dumps(event)}\n\n" for event in events]
    lines += ["data: [DONE]\n\n"] if done else []
    kind = "text/event-stream; charset=utf-8"
    return Answer(status=200, content_type=kind, body="".join(lines).encode())


def piece(text: str, finish: str | None = None, **more: object) -> dict[str, object]:
    """Return an event with a piece of text."""
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish, **more}
    return {"id": "x", "choices": [choice]}


ROLE = {"id": "x", "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}
USAGE = {"id": "x", "choices": [], "usage": {"total_tokens": 3}}
ERROR = {"error": {"message": "no", "type": "BadRequestError", "code": 400}}


def test_what_differs_from_call_to_call_and_nulls_mean_nothing() -> None:
    """Ids and times are new each time, and a null is as good as an absent field."""
    rust = whole({"id": "1", "created": 5, "choices": [{"text": "a"}]})
    python = whole({"id": "2", "created": 6, "choices": [{"text": "a", "logprobs": None}]})

    assert compare(rust=rust, python=python) is None


def test_another_text_is_another_meaning() -> None:
    """The difference names the place and both values."""
    found = compare(rust=whole({"text": "a"}), python=whole({"text": "b"}))

    assert found == Difference(kind=Kind.MEANING, detail=".body.text: 'a' | 'b'")


def test_log_probabilities_may_differ_by_a_hair() -> None:
    """A sum over a batch is not the same to the last bit."""
    python = whole({"logprob": -1.0})

    assert compare(rust=whole({"logprob": -1.001}), python=python) is None
    assert compare(rust=whole({"logprob": -1.1}), python=python) is not None


def test_the_cut_of_a_stream_means_nothing() -> None:
    """How many tokens an event holds depends on timing."""
    rust = stream(ROLE, piece("a"), piece("bc", "stop"), USAGE)
    python = stream(ROLE, piece("ab"), piece("c", "stop"), USAGE)

    assert compare(rust=rust, python=python) is None


@pytest.mark.parametrize(
    "other",
    [
        stream(ROLE, piece("ab"), piece("", "length"), USAGE),
        stream(ROLE, piece("ab", "stop"), USAGE, done=False),
        stream(ROLE, piece("ab", "stop")),
        stream(piece("ab", "stop"), USAGE),
        stream(ROLE, USAGE, piece("ab", "stop")),
        stream(ROLE, piece("ab", "stop", token_ids=[1]), USAGE),
    ],
    ids=["finish", "done", "usage", "role", "order", "token ids"],
)
def test_everything_that_a_stream_tells_counts(other: Answer) -> None:
    """A part that is missing or comes at another time is another meaning."""
    found = compare(rust=other, python=stream(ROLE, piece("ab", "stop"), USAGE))

    assert found is not None
    assert found.kind is Kind.MEANING


def test_lists_of_a_stream_are_put_together() -> None:
    """Token ids and log probabilities count over the whole stream."""
    rust = stream(piece("a", token_ids=[1]), piece("b", "stop", token_ids=[2]))
    python = stream(piece("ab", "stop", token_ids=[1, 2]))

    assert compare(rust=rust, python=python) is None


@pytest.mark.parametrize(
    ("rust", "python", "kind"),
    [
        (whole(ERROR, status=400), whole({}), Kind.RUST_FAILS),
        (whole({}), whole(ERROR, status=400), Kind.RUST_ANSWERS),
        (whole(ERROR, status=500), whole(ERROR, status=400), Kind.RUST_BREAKS),
        (whole(ERROR, status=422), whole(ERROR, status=400), Kind.STATUS),
        (whole({"detail": 1}, status=400), whole(ERROR, status=400), Kind.SHAPE),
    ],
)
def test_refusals_are_sorted_by_who_refuses(rust: Answer, python: Answer, kind: Kind) -> None:
    """Only what a client would lose has to be routed."""
    found = compare(rust=rust, python=python)

    assert found is not None
    assert found.kind is kind


def test_an_error_inside_a_stream_is_a_failure() -> None:
    """Its status is 200 all the same."""
    found = compare(rust=stream(ROLE, ERROR), python=stream(ROLE, piece("a", "stop")))

    assert found is not None
    assert found.kind is Kind.RUST_FAILS


def test_the_wording_of_an_error_means_nothing() -> None:
    """Nor do its type and code."""
    other = {"error": {"message": "another wording", "type": "other", "code": "other"}}

    assert compare(rust=whole(other, status=400), python=whole(ERROR, status=400)) is None
