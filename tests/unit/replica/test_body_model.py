"""Which model a body names, and whether the router read the same."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.replica.adapters.http.body_model import (
    Unclear,
    contradicts,
    model_in,
    with_model,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=4,
)


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b'{"model": "a"}', "a"),
        (b'{"mod\\u0065l": "a"}', "a"),
        (b'{"model": "a", "x": {"model": "b"}}', "a"),
        (b'{"x": [{"model": "b"}]}', Unclear.ABSENT),
        (b'{"model": "a", "model": "a"}', Unclear.TWICE),
        (b'{"model": "a", "mod\\u0065l": "b"}', Unclear.TWICE),
        (b'{"model": 5}', Unclear.NO_STRING),
        (b'{"model": {"model": "a"}}', Unclear.NO_STRING),
        (b'[{"model": "a"}]', Unclear.NO_JSON_OBJECT),
        (b'{"model": ', Unclear.NO_JSON_OBJECT),
        (b"", Unclear.NO_JSON_OBJECT),
        (b"[" * 100_000, Unclear.NO_JSON_OBJECT),
        ('{"model": "a"}'.encode("utf-16"), "a"),
    ],
)
def test_a_body_is_read_the_way_vllm_reads_it(body: bytes, found: str | Unclear) -> None:
    """Only the top level counts, escapes are keys too, and equal keys are told."""
    assert model_in(body) == found


@pytest.mark.parametrize(
    "body",
    [
        b'{"model": "b"}',
        b'{"model": "a", "model": "b"}',
        b'{"model": "a", "model": "a"}',
        b'{"model": null}',
        '{"model": "b"}'.encode("utf-16"),
    ],
)
def test_a_body_that_could_be_read_differently_contradicts(body: bytes) -> None:
    """The router read `a`; anything that another parser may see otherwise is refused."""
    assert contradicts(model_in(body), routed="a")


@pytest.mark.parametrize("body", [b'{"model": "a"}', b'{"prompt": "x"}', b"no json", b""])
def test_a_body_that_agrees_or_says_nothing_passes(body: bytes) -> None:
    """What is no JSON is refused by vLLM with its own message."""
    assert contradicts(model_in(body), routed="a") is None


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32-be"])
@given(
    around=st.dictionaries(st.text(max_size=5).filter(lambda key: key != "model"), JSON),
    model=st.text(min_size=1, max_size=9),
)
def test_a_model_that_is_put_into_a_body_is_all_that_changes(
    encoding: str, around: dict[str, object], model: str
) -> None:
    """What the router read elsewhere reaches the engine, in any encoding that JSON has."""
    body = json.dumps(around, ensure_ascii=encoding != "utf-16").encode(encoding, "surrogatepass")

    named = with_model(body, model)

    assert json.loads(named) == {"model": model, **around}


@given(st.dictionaries(st.text(max_size=5), JSON, max_size=3), st.text(min_size=1, max_size=9))
def test_the_only_top_level_model_is_found_whatever_stands_around_it(
    around: dict[str, object], model: str
) -> None:
    """Nothing beside or inside other values confuses the reading."""
    body = json.dumps({**around, "model": model}).encode()

    assert model_in(body) == model
