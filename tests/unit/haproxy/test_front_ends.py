"""The table of front ends, and the pattern that finds a body which needs Python."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.haproxy.front_ends import MEASURED_FROM_BYTES, TABLE, TABLES, FrontEndTable
from libs.haproxy.member_pattern import pattern_of

PATTERN = pattern_of(
    {
        "n": r'"\s*+:(?!\s*+(?:1|null)\s*+[,}])',
        "name": r'"\s*+:',
        "tools": r'"\s*+:',
        "tool_choice": r'"\s*+:',
        "prompt": r'"\s*+:\s*+\[',
    }
)
NAMES = st.from_regex(r"[a-z][a-z_]{0,9}", fullmatch=True)


def found(body: str, pattern: str = PATTERN) -> bool:
    """Whether the pattern finds something; it means the same to Python's `re` as to PCRE."""
    return re.search(pattern, body) is not None


@pytest.mark.parametrize(
    "body",
    [
        '{"n":2}',
        '{"n": 2}',
        '{"n"\n\t :\r\n 2}',
        '{ \n"n":2}',
        '{"n":11}',
        '{"n":1.0}',
        '{"n":"1"}',
        '{"n":1,"n":2}',
        '{"a":[{"b":"c"}],"n":2,"d":["e"]}',
        '{"stop":["x"], "tools":[],"stop":["y"]}',
        '{"tools":null}',
        '{"prompt":["a"]}',
        '{"prompt" : [ "a" ]}',
        r'{"\u006e":2}',
        r'{"to\u006fls":[]}',
        r'{"t\u006F\u006Fls":[]}',
        r'{"tool\u0073":[]}',
        r'{"tool\u005fchoice":1}',
        r'{"tool\u005Fchoice":1}',
    ],
)
def test_a_member_is_found_wherever_and_however_it_is_written(body: str) -> None:
    """Order, white space, nesting and escapes hide nothing."""
    assert found(body)


@pytest.mark.parametrize(
    "body",
    [
        '{"model":"m","messages":[{"role":"user","content":"n tools prompt"}]}',
        '{"n":1,"prompt":"x"}',
        '{"n" : 1 }',
        '{"n":null}',
        json.dumps({"content": '"tools":[] and {"n": 2, "name":1}'}),
        json.dumps({"content": "é 漢字 🙂 \u2028 <a&b>", "prompt": "[1]"}),
        json.dumps({"user": "n", "a": "tools"}),
        '{"named":2,"toolset":[],"tool":1}',
        r'{"content":"\u003ca\u003e \u0026 \u00e9"}',
    ],
)
def test_texts_and_other_names_are_not_members(body: str) -> None:
    """A text may speak of names, and clients escape other characters than letters."""
    assert not found(body)


@settings(derandomize=True, database=None, deadline=None, max_examples=200)
@given(st.sets(NAMES, min_size=1, max_size=40), st.data())
def test_a_pattern_of_many_names_finds_each_of_them_and_no_other(
    names: set[str], data: st.DataObject
) -> None:
    """Names share their beginnings in the pattern, and one may begin another."""
    pattern = pattern_of(dict.fromkeys(names, '":'))
    name = data.draw(NAMES | st.sampled_from(sorted(names)))

    assert found(json.dumps({"a0": 1, name: 2}), pattern) == (name in names)


def test_names_that_escapes_could_hide_are_refused() -> None:
    """The pattern for escapes knows small letters and `_` alone."""
    for name in ("topK", "n1", "a-b", ""):
        with pytest.raises(ValueError, match="table of front ends"):
            FrontEndTable(rust_paths=(), values={name: "1"}, beginnings={}, except_after={})


def test_the_present_table_is_one_of_a_release() -> None:
    """Its pattern sends what Python alone serves to Python, and a plain request to Rust."""
    assert TABLE in TABLES.values()
    plain: dict[str, object] = {
        "messages": [{"role": "user", "content": "hello"}],
        "model": "m",
        "stream": True,
    }
    assert not found(json.dumps(plain), TABLE.python_pattern)
    python_only = {"n": 2, "tools": [], "prompt": ["a", "b"], "request_id": "x"}
    for name, value in python_only.items():
        assert found(json.dumps(plain | {name: value}), TABLE.python_pattern)


@pytest.mark.parametrize(
    "name", ["response_format", "structured_outputs", "logit_bias", "allowed_token_ids"]
)
def test_a_value_that_may_be_large_needs_python_which_has_limits(name: str) -> None:
    """Only what stands behind its name counts: a long chat before it changes nothing."""
    chat = {"model": "m", "messages": [{"role": "user", "content": "a" * 100_000}]}

    small = json.dumps(chat | {name: {"1": "a" * 1_000}})
    large = json.dumps({"model": "m", "prompt": "a", name: {"1": "a" * MEASURED_FROM_BYTES}})

    assert not found(small, TABLE.python_pattern)
    assert found(large, TABLE.python_pattern)
