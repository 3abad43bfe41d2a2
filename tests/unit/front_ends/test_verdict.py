"""What the table says about requests.

Invariants: only the paths of the table go to the Rust front end; a text that looks like a member
counts for nothing; an entry can move only if a case depends on it and all such cases agree.
"""

from __future__ import annotations

import json

import pytest

from libs.haproxy.front_ends import TABLE
from libs.testing.front_ends.all_cases import all_cases
from libs.testing.front_ends.cases import CHAT, COMPLETIONS, MODEL, USER, Case, post
from libs.testing.front_ends.compare import LOST_BY_A_CLIENT, Answer, Difference, Kind
from libs.testing.front_ends.known import KNOWN, reason_of
from libs.testing.front_ends.verdict import (
    fields_without_a_case,
    movable,
    movable_paths,
    python_test,
)

NEEDS_PYTHON = python_test(TABLE)
OTHER = Difference(kind=Kind.MEANING, detail="")
FINE = Answer(status=200, content_type="application/json", body=b"{}")


def chat(**fields: object) -> Case:
    """Return a chat with these fields."""
    return post("a chat", CHAT, {"model": MODEL, "messages": [USER], **fields})


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"stream": True, "stream_options": {"include_usage": True}, "max_tokens": 5, "n": 1},
        {"messages": [{"role": "user", "content": 'say "n": 2 and "tools": []'}]},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}},
        {"temperature": 0.5, "top_p": 1, "seed": -1, "stop": None, "logprobs": False},
    ],
)
def test_an_ordinary_chat_goes_to_rust(fields: dict[str, object]) -> None:
    """In either way of writing JSON."""
    case = chat(**fields)
    compact = json.dumps(json.loads(case.body), separators=(",", ":")).encode()

    assert not NEEDS_PYTHON(case)
    assert not NEEDS_PYTHON(Case(name="compact", path=CHAT, body=compact))


@pytest.mark.parametrize(
    "fields",
    [
        {"n": 2},
        {"tools": []},
        {"logprobs": True},
        {"stream": None},
        {"max_tokens": "5"},
        {"max_tokens": 5.0},
        {"temperature": "1"},
        {"messages": [{"role": "user", "content": ""}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]},
        {"messages": [{"role": "tool", "content": "x", "tool_call_id": "1"}]},
        {"messages": [{"role": "user", "content": "x", "name": "bob"}]},
        {"chat_template_kwargs": {"chat_template": "x"}},
    ],
)
def test_what_rust_answers_otherwise_goes_to_python(fields: dict[str, object]) -> None:
    """One member is enough, at any depth."""
    assert NEEDS_PYTHON(chat(**fields))


def test_other_paths_and_methods_go_to_python() -> None:
    """The query does not count, and the path does to the letter."""
    body = chat().body

    assert not NEEDS_PYTHON(Case(name="query", path=f"{CHAT}?x=1", body=body))
    assert NEEDS_PYTHON(Case(name="slash", path=f"{CHAT}/", body=body))
    assert NEEDS_PYTHON(Case(name="GET", path=COMPLETIONS, method="GET"))


def test_an_entry_whose_cases_all_agree_can_move() -> None:
    """One case that differs keeps it, and so does the lack of any."""
    one, two = chat(n=2), chat(n=3)

    assert movable(TABLE, [(one, None), (two, None)]) == ("n",)
    assert movable(TABLE, [(one, None), (two, OTHER)]) == ()
    assert movable(TABLE, [(chat(), None)]) == ()


def test_a_path_that_both_refuse_cannot_move() -> None:
    """Nothing is known about it."""
    case = post("tokens", "/tokenize", {"model": MODEL, "prompt": "x"})
    refused = Answer(status=404, content_type="application/json", body=b"{}")

    assert movable_paths(TABLE, [(case, FINE, None)]) == ("/tokenize",)
    assert movable_paths(TABLE, [(case, refused, None)]) == ()
    assert movable_paths(TABLE, [(case, FINE, None), (case, FINE, OTHER)]) == ()


def test_a_field_that_no_case_uses_is_told() -> None:
    """A new release may bring one."""
    assert fields_without_a_case(["n", "smell"], [chat(n=1)], CHAT) == {"smell"}


def test_a_listed_difference_is_of_one_kind() -> None:
    """Another kind of difference in the same case is not known."""
    refused = Difference(kind=Kind.RUST_FAILS, detail="")

    assert reason_of("chat no content", refused) is not None
    assert reason_of("chat no content", OTHER) is None
    assert reason_of("chat plain", refused) is None


def test_only_invalid_requests_lose_their_answer() -> None:
    """Everything else that Python alone answers has to be routed."""
    lost = {known.title for known in KNOWN if known.kinds & LOST_BY_A_CLIENT}

    assert lost == {"A body that is not I-JSON", "A message without content"}


def test_each_listed_difference_has_a_case() -> None:
    """A pattern that matches no name is a slip of the pen."""
    names = [case.name for case in all_cases()]

    assert [k.title for k in KNOWN if not any(map(k.names.fullmatch, names))] == []
