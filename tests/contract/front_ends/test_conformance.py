"""Both front ends answer alike whatever the table sends to the Rust one.

Every difference is either routed to Python by the table, or listed with its reason. What a client
would lose (Python answers and Rust does not, or another meaning) has to be routed, unless the
request is invalid.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

import pytest

from libs.haproxy.front_ends import TABLE
from libs.testing.front_ends.all_cases import all_cases
from libs.testing.front_ends.asking import Asked, ask
from libs.testing.front_ends.cases import CHAT, COMPLETIONS, Case
from libs.testing.front_ends.known import KEPT_IN_PYTHON, KNOWN, reason_of
from libs.testing.front_ends.verdict import (
    fields_without_a_case,
    movable,
    movable_paths,
    python_test,
)
from libs.testing.two_front_ends import FrontEnds

CASES: Final = all_cases()
NEEDS_PYTHON: Final = python_test(TABLE)
SERVED_BY_RUST: Final = tuple(case.name for case in CASES if not NEEDS_PYTHON(case))


@pytest.mark.parametrize("name", SERVED_BY_RUST)
def test_rust_answers_as_python_does(name: str, asked: Mapping[str, Asked]) -> None:
    """Equal, or listed with the reason and of a kind that a client can live with."""
    found = asked[name].difference

    if found is not None:
        assert reason_of(name, found) is not None, f"{found.kind}: {found.detail}"


def test_every_listed_difference_exists(asked: Mapping[str, Asked]) -> None:
    """A reason without a case is out of date: the next release may have taken it away."""
    met = {
        reason_of(name, found)
        for name in SERVED_BY_RUST
        if (found := asked[name].difference) is not None
    }

    assert [known.title for known in KNOWN if known not in met] == []


def test_what_could_move_to_rust_is_listed(asked: Mapping[str, Asked]) -> None:
    """An entry of the table whose cases all agree goes, or is kept for a reason that is named."""
    found = tuple((each.case, each.difference) for each in asked.values())
    answers = tuple((each.case, each.python, each.difference) for each in asked.values())

    can_move = {*movable(TABLE, found), *movable_paths(TABLE, answers)}

    assert can_move == set(KEPT_IN_PYTHON), "these can move, or can no longer"


@pytest.mark.parametrize(
    ("path", "protocol"), [(CHAT, "ChatCompletionRequest"), (COMPLETIONS, "CompletionRequest")]
)
def test_every_field_of_vllms_protocol_has_a_case(
    path: str, protocol: str, front_ends: FrontEnds
) -> None:
    """A new release's new field is told here, before a client finds out."""
    described = Case(name="protocol", path="/openapi.json", method="GET", headers={})

    schemas = json.loads(ask(front_ends.python, described).body)["components"]["schemas"]

    assert fields_without_a_case(schemas[protocol]["properties"], CASES, path) == set()


def test_each_case_has_a_name_of_its_own() -> None:
    """Two of one name would hide one another."""
    assert len({case.name for case in CASES}) == len(CASES)
