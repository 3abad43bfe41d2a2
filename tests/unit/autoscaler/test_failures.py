"""What is known of models that do not come.

Invariants: the same look twice changes nothing; what is known of one model depends on no other; the
pauses grow and have a bound; a jump of the Unix time moves no try; a ready replica ends it all.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.contracts.failing import ERROR_CHARS_MAX, RETRY_AFTER_MAX_S, FailingModel, one_line
from libs.contracts.ids import ModelName
from services.autoscaler.domain.failures import (
    FIRST_RETRY_S,
    Failure,
    Known,
    Sight,
    adopt,
    backoff_s,
    begun,
    due,
    look,
    record,
    until_next_s,
)
from services.autoscaler.domain.moment import Now

M = ModelName("m")
NOW = Now(unix=1_000_000.0, monotonic=50.0)
STARTING = Sight(target=1, is_current=True, gave_up=False, said="")
GIVEN_UP = replace(STARTING, gave_up=True, said="Serve's words")
FAILED = {"r1.aa": "no such file"}

sights = st.builds(
    Sight,
    target=st.integers(0, 3),
    is_current=st.booleans(),
    gave_up=st.booleans(),
    said=st.sampled_from(["", "no room", "Serve's words"]),
    ready=st.sets(st.sampled_from("ab")).map(frozenset),
    failed=st.dictionaries(st.sampled_from("cde"), st.sampled_from(["x", "", "y\nz"])),
)
histories = st.lists(st.tuples(sights, st.floats(0, 100)), max_size=6)


def later(now: Now, seconds: float) -> Now:
    """Let time pass on both clocks."""
    return Now(unix=now.unix + seconds, monotonic=now.monotonic + seconds)


def seen(before: Failure | None, sight: Sight, now: Now = NOW) -> Failure | None:
    """Look at one model."""
    known = Known(failures={M: before} if before else {})
    return look(known, {M: sight}, now).failures.get(M)


def given_up() -> Failure:
    """Return a model that Serve has just given up."""
    failure = seen(seen(None, replace(STARTING, failed=FAILED)), replace(GIVEN_UP, failed=FAILED))
    assert failure is not None
    return failure


def test_a_model_that_starts_is_no_failure() -> None:
    """However long it takes."""
    assert seen(None, STARTING) is None


def test_the_first_failed_start_is_told_and_blocks_nobody() -> None:
    """Serve tries again by itself, and that may succeed."""
    failure = seen(None, replace(STARTING, failed=FAILED))

    assert failure is not None
    assert (failure.error, failure.failed_starts) == ("no such file", 1)
    assert not failure.blocked
    assert failure.next_try is None


def test_a_failed_start_is_counted_once_however_often_it_is_seen() -> None:
    """Its lease stays for seconds."""
    failure = seen(None, replace(STARTING, failed=FAILED))
    again = seen(failure, replace(STARTING, failed=FAILED))
    gone = seen(again, STARTING)
    another = seen(gone, replace(STARTING, failed={"r2.bb": "no such file"}))

    assert again == failure
    assert [each.failed_starts for each in (gone, another) if each] == [1, 2]


def test_the_third_failed_start_in_a_row_blocks() -> None:
    """Also where Serve would go on for ever, because a replica had started before."""
    failed = {f"r{number}.aa": "no such file" for number in range(3)}

    failure = seen(None, replace(STARTING, failed=failed))

    assert failure is not None
    assert failure.blocked


def test_what_serve_gives_up_is_tried_again_after_a_pause() -> None:
    """The replica's own reason stays, and says more than Serve's."""
    failure = given_up()

    assert failure.blocked
    assert (failure.error, failure.failed_starts) == ("no such file", 1)
    assert failure.next_try == NOW.monotonic + FIRST_RETRY_S
    assert failure.next_try_at == NOW.unix + FIRST_RETRY_S
    assert until_next_s({M: failure}, later(NOW, 10)) == FIRST_RETRY_S - 10
    assert not due({M: failure}, later(NOW, FIRST_RETRY_S - 0.1))
    assert due({M: failure}, later(NOW, FIRST_RETRY_S)) == {M}


def test_serves_words_count_where_no_replica_has_spoken() -> None:
    """Such as an application that cannot be built."""
    failure = seen(None, replace(GIVEN_UP, said="ImportError: no module"))

    assert failure is not None
    assert (failure.error, failure.failed_starts) == ("ImportError: no module", 1)


def test_a_model_that_is_tried_again_stays_blocked_until_it_comes() -> None:
    """It failed each time so far; whoever waited would wait for as long as a start takes."""
    tried = begun({M: given_up()}, [M])
    failure = seen(tried[M], STARTING, later(NOW, 31))
    come = seen(failure, replace(STARTING, ready=frozenset({"r9.cc"})), later(NOW, 40))

    assert failure is not None
    assert failure.blocked
    assert failure.next_try is None
    assert record(M, failure).next_try_at is None
    assert come is None


def test_a_pause_goes_on_while_serve_takes_in_another_configuration() -> None:
    """Serve then shows every application as being deployed, for one round of its own."""
    failure = given_up()
    hidden = seen(failure, STARTING, later(NOW, 10))
    again = seen(hidden, GIVEN_UP, later(NOW, 11))

    assert hidden is not None
    assert not due({M: hidden}, later(NOW, 100))
    assert until_next_s({M: hidden}, later(NOW, 100)) is None
    assert again is not None
    assert again.next_try == failure.next_try
    assert record(M, hidden) == record(M, again) == record(M, failure)


def test_the_pause_grows_from_try_to_try() -> None:
    """It doubles."""
    failure, now, pauses = given_up(), NOW, []
    for _ in range(7):
        assert failure.next_try is not None
        pauses.append(failure.next_try - now.monotonic)
        now = later(now, pauses[-1])
        after = seen(begun({M: failure}, [M])[M], GIVEN_UP, now)
        assert after is not None
        failure = after

    assert pauses == [30.0, 60.0, 120.0, 240.0, 480.0, 600.0, 600.0]


@given(st.integers(0, 10_000))
def test_no_pause_is_beyond_the_bound(retries: int) -> None:
    """And none is shorter than the one before it."""
    assert backoff_s(retries) <= backoff_s(retries + 1) <= RETRY_AFTER_MAX_S


@pytest.mark.parametrize(
    "sight",
    [
        replace(GIVEN_UP, is_current=False),
        replace(GIVEN_UP, target=0),
        replace(STARTING, ready=frozenset({"r9.cc"})),
    ],
    ids=["another spec", "no replica wanted", "a replica is ready"],
)
def test_a_failure_is_forgotten(sight: Sight) -> None:
    """What was known says nothing about what comes."""
    assert seen(given_up(), sight) is None


def test_a_model_with_some_replicas_tells_its_error_and_is_served() -> None:
    """The ready replica was there before; only a further one would be news."""
    two = replace(STARTING, target=2, ready=frozenset({"r1.aa"}))
    failure = seen(None, replace(two, failed={f"r{n}.bb": "out of memory" for n in range(2, 6)}))
    still = seen(failure, two)
    come = seen(still, replace(two, ready=frozenset({"r1.aa", "r9.cc"})))

    assert failure is not None
    assert (failure.error, failure.blocked) == ("out of memory", False)
    assert still is not None
    assert come is None


@pytest.mark.parametrize(
    "end",
    [replace(STARTING, is_current=False), replace(STARTING, target=2, ready=frozenset({"r9.cc"}))],
    ids=["another spec", "a replica came"],
)
def test_a_failed_start_of_before_says_nothing_of_what_comes(end: Sight) -> None:
    """Its lease is still there for some seconds."""
    failed = replace(STARTING, target=2, failed=FAILED)
    known = look(Known(), {M: failed}, NOW)
    ended = look(known, {M: replace(end, failed=FAILED)}, NOW)
    after = look(ended, {M: failed}, NOW)
    news = look(after, {M: replace(failed, failed=FAILED | {"r2.bb": "again"})}, NOW)
    gone = look(news, {M: STARTING}, NOW)

    assert known.failures.keys() == {M}
    assert ended.failures == after.failures == {}
    assert (news.failures[M].failed_starts, news.failures[M].error) == (1, "again")
    assert gone.over == frozenset()


def test_a_failed_update_is_tried_again_while_the_old_replicas_serve() -> None:
    """Serve stops such an update for good."""
    failure = seen(None, replace(GIVEN_UP, ready=frozenset({"old.aa"})))

    assert failure is not None
    assert not failure.blocked
    assert failure.next_try is not None


def test_a_replica_without_room_is_told_and_forgotten_when_it_has_some() -> None:
    """Nothing failed."""
    failure = seen(None, replace(STARTING, said="no room for a replica"))

    assert failure is not None
    assert (failure.failed_starts, failure.blocked) == (0, False)
    assert seen(failure, STARTING) is None


def test_a_jump_of_the_unix_time_moves_no_try() -> None:
    """Only what people are told follows it."""
    failure = given_up()
    jumped = Now(unix=NOW.unix + 3600, monotonic=NOW.monotonic + 10)

    after = seen(failure, GIVEN_UP, jumped)

    assert after is not None
    assert after.next_try == failure.next_try
    assert after.next_try_at == jumped.unix + FIRST_RETRY_S - 10


def test_what_is_told_of_a_try_does_not_change_with_every_look() -> None:
    """Two clocks never agree to the microsecond."""
    failure = given_up()
    off = Now(unix=NOW.unix + 10.001, monotonic=NOW.monotonic + 10)

    assert seen(failure, replace(GIVEN_UP, failed=FAILED), off) == failure


def test_another_autoscaler_goes_on_where_the_last_one_ended() -> None:
    """With its pauses; and with a shorter one than a clock that jumped would make of it."""
    failure = seen(begun({M: given_up()}, [M])[M], GIVEN_UP, NOW)
    assert failure is not None
    known = record(M, failure)
    elsewhere = Now(unix=NOW.unix + 20, monotonic=7_000.0)
    far_off = Now(unix=NOW.unix - 1e6, monotonic=7_000.0)

    (adopted,) = adopt([known], elsewhere).values()
    (bounded,) = adopt([known], far_off).values()

    assert record(M, adopted) == known
    assert adopted.next_try == elsewhere.monotonic + 40
    assert bounded.next_try == far_off.monotonic + 60


def test_one_model_says_nothing_about_another() -> None:
    """Each is tried at its own time."""
    known = look(Known(), {M: GIVEN_UP, ModelName("n"): STARTING}, NOW)

    assert known.failures.keys() == {M}


@given(histories, sights)
def test_the_same_look_twice_changes_nothing(
    history: list[tuple[Sight, float]], sight: Sight
) -> None:
    """Whatever happened before."""
    failure, now = None, NOW
    for each, seconds in history:
        now = later(now, seconds)
        failure = seen(failure, each, now)
    first = seen(failure, sight, now)

    assert seen(first, sight, now) == first


@given(histories)
def test_everything_that_is_known_can_be_told(history: list[tuple[Sight, float]]) -> None:
    """Whatever a replica gives as its reason."""
    failure, now = None, NOW
    for each, seconds in history:
        now = later(now, seconds)
        failure = seen(failure, each, now)
        if failure is not None:
            assert isinstance(record(M, failure), FailingModel)
            assert not (failure.blocked and each.ready)


@given(st.text())
def test_any_text_makes_an_error_of_one_line(text: str) -> None:
    """Of bounded length, and never an empty one."""
    line = one_line(text, otherwise="unknown")

    assert line.isprintable()
    assert 0 < len(line) <= ERROR_CHARS_MAX
