"""How one request ends is told from its bytes and times alone.

Invariants: every exchange ends once and writes one row; gaps are between texts, never before the
first; what arrives outside the window counts for no rate.
"""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.bench.load.exchange import Exchange
from tools.bench.load.samples import Ledger, Outcome, Samples, Window, freeze

TEXT = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":6}}\n\n'
DONE = b"data: [DONE]\n\n"
WHOLE = b'{"choices":[{"text":"a"}],"usage":{"prompt_tokens":5,"completion_tokens":6}}'


def exchange(*, stream: bool = True, status: int | None = 200) -> Exchange:
    """Return a request intended at 1.0 whose head has come; None leaves the head out."""
    found = Exchange(
        ledger=Ledger(window=Window(start_s=0.0, end_s=10.0)),
        intended_s=1.0,
        started_s=1.1,
        asked_tokens=6,
        stream=stream,
        keeps_gaps=True,
    )
    if status is not None:
        found.head(status)
    return found


def row(found: Exchange) -> Samples:
    """Return what was written; it must be one row."""
    samples = freeze(found.ledger)
    assert len(samples.rows) == 1
    return samples


def value(found: Exchange, column: str) -> float:
    """Return one value of the row."""
    return float(row(found).column(column)[0])


def test_a_whole_stream_has_its_times_gaps_and_counts() -> None:
    """The server's count of tokens stands beside the chunks that were seen."""
    found = exchange()

    for at_s in (2.0, 2.25, 2.75):
        found.body(TEXT, at_s)
    found.body(USAGE + DONE, 3.0)
    found.complete(3.5)

    assert found.outcome is Outcome.OK
    assert row(found).gaps.tolist() == [0.25, 0.5]
    expected = {"first_s": 2.0, "last_s": 2.75, "end_s": 3.5, "text_events": 3, "output_tokens": 6}
    assert {name: value(found, name) for name in expected} == expected


def test_an_answer_that_is_not_streamed_has_no_first_token() -> None:
    """All of it comes at once."""
    found = exchange(stream=False)

    found.body(WHOLE[:20], 2.0)
    found.body(WHOLE[20:], 2.0)
    found.complete(2.5)

    assert found.outcome is Outcome.OK
    assert math.isnan(value(found, "first_s"))
    assert value(found, "output_tokens") == 6


def test_a_stream_without_its_last_event_is_truncated() -> None:
    """Status 200 and HTTP's own end do not make an answer whole."""
    found = exchange()

    found.body(TEXT, 2.0)
    found.complete(3.0)

    assert found.outcome is Outcome.TRUNCATED


@pytest.mark.parametrize(
    ("status", "outcome"), [(200, Outcome.TRUNCATED), (None, Outcome.RESET), (503, Outcome.RESET)]
)
def test_a_lost_connection_is_told_by_what_came_before(
    status: int | None, outcome: Outcome
) -> None:
    """A broken answer is another thing than none."""
    found = exchange(status=status)

    found.lost(2.0, "gone")

    assert found.outcome is outcome


def test_a_connection_that_closes_after_the_last_event_is_a_whole_answer() -> None:
    """Servers without chunked encoding end an answer by closing."""
    found = exchange()

    found.body(TEXT + DONE, 2.0)
    found.lost(2.1, "closed")

    assert found.outcome is Outcome.OK


@pytest.mark.parametrize(
    ("data", "outcome"),
    [
        (b'data: {"error":{"message":"out of memory"}}\n\n' + DONE, Outcome.STREAM_ERROR),
        (b"data: {oops\n\n" + DONE, Outcome.MALFORMED),
        (b'data: {"choices":3}\n\n' + DONE, Outcome.MALFORMED),
    ],
)
def test_an_error_inside_a_stream_is_a_failure(data: bytes, outcome: Outcome) -> None:
    """The status went out before anything could fail."""
    found = exchange()

    found.body(TEXT, 2.0)
    found.body(data, 2.1)
    found.complete(2.2)

    assert found.outcome is outcome
    assert found.ledger.examples


def test_a_refusal_is_counted_by_its_status_with_its_text() -> None:
    """The first few texts are kept, so that a user sees why."""
    found = exchange(status=503)

    found.body(b"no server is available", 2.0)
    found.complete(2.0)

    assert found.outcome is Outcome.HTTP_ERROR
    assert found.ledger.examples == {"http_503": ["no server is available"]}


@given(
    st.lists(st.sampled_from(["text", "done", "complete", "lost", "fail"]), min_size=1, max_size=9)
)
def test_an_exchange_ends_once_whatever_happens(happenings: list[str]) -> None:
    """A timeout may meet the answer's end, or the connection's."""
    found = exchange()

    for index, happening in enumerate([*happenings, "fail"]):
        now_s = 2.0 + index
        match happening:
            case "text":
                found.body(TEXT, now_s)
            case "done":
                found.body(DONE, now_s)
            case "complete":
                found.complete(now_s)
            case "lost":
                found.lost(now_s, "gone")
            case _:
                found.fail(Outcome.TIMEOUT, now_s)

    assert found.ledger.finished == 1
    assert len(row(found).gaps) == max(0, happenings.count("text") - 1)


@given(st.lists(st.floats(0.0, 20.0), max_size=20).map(sorted))
def test_only_what_arrives_inside_the_window_counts_for_rates(times: list[float]) -> None:
    """The rest of a long answer belongs to the drain."""
    found = exchange()

    for at_s in times:
        found.body(TEXT, at_s)
    found.fail(Outcome.UNFINISHED, 21.0)

    assert value(found, "window_events") == sum(at_s < 10.0 for at_s in times)
    assert sum(found.ledger.bins) == len(times)
