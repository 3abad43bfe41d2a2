"""The table of front ends, and the pattern that finds a body which needs Python."""

from __future__ import annotations

import json
import re

import pytest

from libs.haproxy.front_ends import TABLE, TABLES, FrontEndTable

SMALL = FrontEndTable(
    rust_paths=("/v1/completions",),
    python_fields={"n": ("1", "null"), "tools": ()},
    python_lists=("prompt",),
)


def needs_python(body: str, table: FrontEndTable = SMALL) -> bool:
    """Whether the pattern finds something; it means the same to Python's `re` as to PCRE."""
    return re.search(table.python_pattern, body) is not None


@pytest.mark.parametrize(
    "body",
    [
        '{"n":2}',
        '{"n": 2}',
        '{"n"\n\t :\r\n 2}',
        '{"n":11}',
        '{"n":1.0}',
        '{"n":"1"}',
        '{"n":1,"n":2}',
        '{"a":[{"b":"c"}],"n":2,"d":["e"]}',
        '{"stop":["x"],"tools":[],"stop":["y"]}',
        '{"tools":null}',
        '{"prompt":["a"]}',
        '{"prompt" : [ "a" ]}',
        r'{"\u006e":2}',
        r'{"to\u006fls":[]}',
        r'{"t\u006F\u006Fls":[]}',
        r'{"tool\u0073":[]}',
    ],
)
def test_what_needs_python_is_found_wherever_and_however_it_is_written(body: str) -> None:
    """Order, white space, nesting and escapes hide nothing."""
    assert needs_python(body)


@pytest.mark.parametrize(
    "body",
    [
        '{"model":"m","messages":[{"role":"user","content":"n tools prompt"}]}',
        '{"n":1,"prompt":"x"}',
        '{"n" : 1 }',
        '{"n":null}',
        json.dumps({"content": '"tools":[] and "n": 2'}),
        json.dumps({"content": "é 漢字 🙂 \u2028 <a&b>", "prompt": "[1]"}),
        json.dumps({"user": "n", "a": "tools"}),
        '{"name":2,"toolset":[]}',
        r'{"content":"\u003ca\u003e \u0026 \u00e9"}',
    ],
)
def test_texts_and_other_names_do_not_need_python(body: str) -> None:
    """A text may speak of names, and clients escape other characters than letters."""
    assert not needs_python(body)


def test_names_that_escapes_could_hide_are_refused() -> None:
    """The pattern for escapes knows small letters and `_` alone."""
    for name in ("topK", "n1", "a-b", ""):
        with pytest.raises(ValueError, match="table of front ends"):
            FrontEndTable(rust_paths=(), python_fields={name: ()})


def test_the_present_table_is_one_of_a_release() -> None:
    """Nobody edits a table that no release has."""
    assert TABLE in TABLES.values()
