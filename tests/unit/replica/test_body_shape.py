"""How much a body holds: never less than a parser finds, and nothing of what is in its strings."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.replica.adapters.http.body_shape import Shape, excess_in
from services.replica.adapters.http.middleware import SHAPE_MAX

SMALL = Shape(texts=8, objects=4, values=16)
JSON = st.recursive(
    st.none() | st.integers() | st.text(alphabet='a"\\{}[],:\n\u20ac', max_size=6),
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=12,
)


def counted(tree: object) -> Shape:
    """Count as a parser does."""
    inner: list[object] = []
    names = 0
    if isinstance(tree, dict):
        inner, names = list(tree.values()), len(tree)
    elif isinstance(tree, list):
        inner = tree
    parts = [counted(each) for each in inner]
    is_object = isinstance(tree, dict | list)
    return Shape(
        texts=names + isinstance(tree, str) + sum(each.texts for each in parts),
        objects=is_object + sum(each.objects for each in parts),
        values=is_object + max(0, len(inner) - 1) + sum(each.values for each in parts),
    )


@given(JSON, st.sampled_from(["escapes", "characters"]))
def test_a_body_is_refused_if_and_only_if_a_parser_would_find_too_much(
    tree: object, written_as: str
) -> None:
    """Quotes, braces and backslashes inside strings count for nothing."""
    body = json.dumps(tree, ensure_ascii=written_as == "escapes").encode("utf-8", "surrogatepass")

    assert (excess_in(body, SMALL) is None) == (counted(tree).excess(SMALL) is None)


@pytest.mark.parametrize(
    "body",
    [
        b'{"model": "m", "messages": [' + b"{}," * 2_700_000 + b"{}]}",
        b'{"model": "m", "messages": ' + b"[" * 8_000_000,
        b'{"model": "m", "prompt": [' + b"1," * 4_000_000 + b"1]}",
        b'{"model": "m", "prompt": [' + b'"",' * 2_700_000 + b'""]}',
        '{"model": "m", "messages": ['.encode("utf-16")
        + ("{}," * 100_000).encode("utf-16-le")
        + "{}]}".encode("utf-16-le"),
    ],
    ids=["objects", "depth", "numbers", "texts", "another encoding"],
)
def test_a_large_body_of_small_parts_is_too_much(body: bytes) -> None:
    """Whatever the parts are."""
    assert excess_in(body, SHAPE_MAX) is not None


@pytest.mark.parametrize(
    "body",
    [
        json.dumps({"prompt": '{"a": [1, 2]},\\' * 500_000}).encode(),
        json.dumps({"prompt": [123_456] * 131_072}).encode(),
        json.dumps({"messages": [{"role": "user", "content": "a"}] * 1_000}).encode(),
        b"\xff\xfe{",
        b"",
    ],
    ids=["a program as prompt", "token ids", "a long chat", "unreadable", "empty"],
)
def test_large_requests_of_the_usual_kind_are_not(body: bytes) -> None:
    """Code in a prompt is one string; what cannot be read is left to vLLM."""
    assert excess_in(body, SHAPE_MAX) is None
