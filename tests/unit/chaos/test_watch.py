"""Whether `status` told the truth.

Invariant: an answer is untrue only if everything that was seen around it says otherwise.
"""

import json
from collections.abc import Mapping

import pytest

from libs.testing.local_stack import Done
from tools.bench.chaos.watch import Answer, Sight, complaints, untrue

WELL = {
    "problems": [],
    "models": [{"name": "m", "ready": 2, "target": 2}],
}


def said(status: object, *, code: int = 0, err: str = "") -> Done:
    """Return what the command printed."""
    return Done(code=code, out=json.dumps(status), err=err)


def sights(lacks_at: Mapping[int, tuple[str, ...]]) -> list[Sight]:
    """Return what was seen in seconds 0 to 60, once a second."""
    return [Sight(at_s=float(at), lacks=lacks_at.get(at, ())) for at in range(61)]


def answer(*wrong: str) -> Answer:
    """Return an answer that was asked for at 40 s and came at 43."""
    return Answer(began_s=40.0, ended_s=43.0, complaints=wrong)


def test_a_status_that_finds_nothing_has_no_complaint() -> None:
    """Everything runs and every replica is ready."""
    assert complaints(said(WELL)) == ()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"problems": ["the edge is degraded"]}, "the edge is degraded"),
        ({"models": [{"name": "m", "ready": 1, "target": 2}]}, "m: other replicas than wanted"),
    ],
)
def test_what_a_status_finds_wrong_is_a_complaint(change: dict[str, object], words: str) -> None:
    """Each in its own words."""
    assert complaints(said({**WELL, **change}, code=1)) == (words,)


def test_a_status_that_fails_complains() -> None:
    """Its last words are its complaint."""
    silent = Done(code=1, out="", err="NATS does not answer\n")

    assert complaints(silent) == ("NATS does not answer",)


def test_content_while_something_was_wrong_all_the_time_is_untrue() -> None:
    """It had long enough to hear of it."""
    broken = dict.fromkeys(range(20, 61), ("no leader",))

    assert untrue(answer(), sights(broken)) == "status is content, but: no leader"


def test_content_about_what_has_just_broken_is_no_lie() -> None:
    """It may have looked a moment before."""
    assert untrue(answer(), sights(dict.fromkeys(range(30, 61), ("no leader",)))) == ""


def test_a_complaint_while_all_was_well_is_untrue() -> None:
    """Nobody could act on it."""
    assert "all is well" in untrue(answer("no process"), sights({}))


def test_a_complaint_about_what_was_wrong_lately_is_no_lie() -> None:
    """It may still have been so when it looked."""
    assert untrue(answer("no process"), sights({30: ("no leader",)})) == ""


def test_without_enough_sights_nothing_is_judged() -> None:
    """The run has just begun."""
    late = [each for each in sights({}) if each.at_s > 38]

    assert untrue(answer("no process"), late) == ""
