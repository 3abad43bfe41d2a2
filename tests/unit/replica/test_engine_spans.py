"""A request's spans out of what the engine core says of it.

Invariants: a stage that never began has no span; stages follow one another within the engine's
span; every span has a parent among the ones before it or in the caller; nothing that a datagram may
hold raises an exception.
"""

from __future__ import annotations

from itertools import count, pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.trace import SpanKind

from libs.contracts.lease import FrontEnd
from libs.telemetry.finished_span import FinishedSpan
from services.replica.adapters.vllm.engine_spans import Engine, RequestSpans
from services.replica.adapters.vllm.report_codec import EngineRequest

TRACE, CALLER = "a" * 32, "b" * 16
OFFSET_S = 1_000_000.0
ENGINE = Engine(model="m", front_ends={0: FrontEnd.RUST, 1: FrontEnd.PYTHON})
WHOLE = EngineRequest(
    id=f"chatcmpl-{TRACE}-{CALLER}-01-01234567",
    client=0,
    status="FINISHED_STOPPED",
    arrival_s=OFFSET_S + 9.5,
    queued_s=10.0,
    scheduled_s=11.0,
    first_token_s=13.0,
    ended_s=17.0,
    prompt_tokens=31,
    output_tokens=4,
    cached_tokens=16,
    preemptions=0,
    priority=-3,
    adapter="",
    max_tokens=8,
    temperature=0.5,
    top_p=1.0,
)

seconds = st.floats(0, 2**33, exclude_max=True)
counts = st.integers(0, 2**53 - 1)
requests = st.builds(
    EngineRequest,
    id=st.sampled_from([WHOLE.id, f"0_cmpl-{TRACE}-{CALLER}-01-0-ab", "cmpl-1", "", "\0"]),
    client=st.integers(-1, 2),
    status=st.sampled_from(["FINISHED_STOPPED", "FINISHED_ABORTED", "FINISHED_ERROR", "", "NEW"]),
    arrival_s=st.floats(),
    queued_s=seconds,
    scheduled_s=st.none() | seconds,
    first_token_s=st.none() | seconds,
    ended_s=seconds,
    prompt_tokens=counts,
    output_tokens=counts,
    cached_tokens=counts,
    preemptions=counts,
    priority=st.integers(-(2**63), 2**63),
    adapter=st.text(max_size=3),
    has_stop_strings=st.booleans(),
)


def spans_of(request: EngineRequest) -> list[FinishedSpan]:
    """Return a request's spans; ids count from 1."""
    numbers = count(1)
    return RequestSpans(ENGINE, new_id=lambda: f"{next(numbers):016x}").of(request, OFFSET_S)


def with_(**changes: object) -> EngineRequest:
    """Return the whole request with some fields changed."""
    return msgspec.structs.replace(WHOLE, **changes)


def names(spans: list[FinishedSpan]) -> list[str]:
    """Return the names in their order."""
    return [span.name for span in spans]


def test_a_request_of_the_rust_front_end_is_a_tree_below_the_edge() -> None:
    """That front end exports no spans of its own."""
    replica, engine, *stages = spans_of(WHOLE)

    assert (replica.name, replica.parent_span_id, replica.kind) == (
        "replica",
        CALLER,
        SpanKind.SERVER,
    )
    assert (engine.name, engine.parent_span_id) == ("engine", replica.span_id)
    assert names(stages) == ["queue", "prefill", "decode"]
    assert {stage.parent_span_id for stage in stages} == {engine.span_id}
    assert {span.trace_id for span in (replica, engine, *stages)} == {TRACE}
    assert [span.is_parent_remote for span in (replica, engine, *stages)] == [True, *[False] * 4]


def test_a_request_of_the_python_front_end_is_below_that_front_ends_span() -> None:
    """It makes the span `replica` itself and sends its own id."""
    engine, *stages = spans_of(with_(client=1))

    assert (engine.name, engine.parent_span_id, engine.is_parent_remote) == ("engine", CALLER, True)
    assert names(stages) == ["queue", "prefill", "decode"]
    assert engine.attributes["sluice.front_end"] == "python"


def test_times_are_unix_times() -> None:
    """The engine core's clock counts from the machine's start."""
    times = [
        (span.start_ns / 1e9 - OFFSET_S, span.end_ns / 1e9 - OFFSET_S) for span in spans_of(WHOLE)
    ]

    assert times == [(9.5, 17.0), (10.0, 17.0), (10.0, 11.0), (11.0, 13.0), (13.0, 17.0)]


def test_the_attributes_are_those_of_the_genai_conventions() -> None:
    """Both spans say what the request was; the engine's says how it went."""
    replica, engine, *_ = spans_of(WHOLE)

    shared = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "vllm",
        "gen_ai.request.model": "m",
        "sluice.front_end": "rust",
    }
    assert replica.attributes == {**shared, "gen_ai.response.time_to_first_chunk": 3.5}
    assert engine.attributes == {
        **shared,
        "gen_ai.response.id": f"chatcmpl-{TRACE}-{CALLER}-01",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 31,
        "gen_ai.usage.output_tokens": 4,
        "gen_ai.usage.cache_read.input_tokens": 16,
        "gen_ai.request.max_tokens": 8,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.top_p": 1.0,
        "gen_ai.latency.time_to_first_token": 3.5,
        "gen_ai.latency.time_in_queue": 1.0,
        "gen_ai.latency.time_in_model_prefill": 2.0,
        "gen_ai.latency.time_in_model_decode": 4.0,
        "sluice.priority": -3,
        "sluice.preemptions": 0,
    }


ABORTED = {"status": "FINISHED_ABORTED"}


@pytest.mark.parametrize(
    ("changes", "stages"),
    [
        ({**ABORTED, "scheduled_s": None, "first_token_s": None, "output_tokens": 0}, ["queue"]),
        ({**ABORTED, "first_token_s": None, "output_tokens": 0}, ["queue", "prefill"]),
        ({**ABORTED, "output_tokens": 1}, ["queue", "prefill", "decode"]),
        ({"status": "FINISHED_LENGTH_CAPPED", "output_tokens": 1}, ["queue", "prefill"]),
        ({"output_tokens": 0}, ["queue", "prefill"]),
        ({"preemptions": 2}, ["queue", "prefill", "decode"]),
    ],
    ids=["in-queue", "in-prefill", "in-decode", "one-token", "embedding", "preempted"],
)
def test_a_stage_that_never_began_has_no_span(
    changes: dict[str, object], stages: list[str]
) -> None:
    """However the request ends."""
    assert names(spans_of(with_(**changes)))[2:] == stages


QUEUED = {**ABORTED, "scheduled_s": None, "first_token_s": None, "output_tokens": 0}


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"status": "FINISHED_ERROR"}, "engine_error"),
        (QUEUED, "aborted"),
        ({**ABORTED, "client": 1}, "aborted"),
    ],
    ids=["error", "left-in-queue", "left-in-stream"],
)
def test_a_request_that_did_not_end_well_is_an_error(
    changes: dict[str, object], error: str
) -> None:
    """Its stages only say where the time went."""
    spans = spans_of(with_(**changes))

    whole = [span for span in spans if span.attributes]
    assert {span.attributes["error.type"] for span in whole} == {error}
    assert all(span.is_error for span in whole)
    assert not any(span.is_error for span in spans if not span.attributes)


@pytest.mark.parametrize("changes", [{}, {"client": 1, "has_stop_strings": True}])
def test_an_abort_that_may_be_a_stop_string_is_no_error(changes: dict[str, object]) -> None:
    """The front end found one, or the client left: the engine cannot tell."""
    spans = spans_of(with_(**ABORTED, **changes))

    engine = next(span for span in spans if span.name == "engine")
    assert engine.attributes["sluice.ended_by"] == "front_end"
    assert not {"error.type", "gen_ai.response.finish_reasons"} & engine.attributes.keys()


@pytest.mark.parametrize(
    ("request_id", "operation", "response"),
    [
        (f"cmpl-{TRACE}-{CALLER}-01-0-ab", "text_completion", f"cmpl-{TRACE}-{CALLER}-01"),
        (f"1_cmpl-{TRACE}-{CALLER}-01-3-ab", "text_completion", f"cmpl-{TRACE}-{CALLER}-01"),
        (f"embd-{TRACE}-{CALLER}-01-0-ab", "embeddings", f"embd-{TRACE}-{CALLER}-01"),
        (f"resp-{TRACE}-{CALLER}-01-ab", "chat", f"resp-{TRACE}-{CALLER}-01"),
    ],
)
def test_the_id_says_what_was_asked(request_id: str, operation: str, response: str) -> None:
    """One HTTP request may be several of the engine's: they share the answer's id."""
    _, engine, *_ = spans_of(with_(id=request_id))

    assert engine.attributes["gen_ai.operation.name"] == operation
    assert engine.attributes["gen_ai.response.id"] == response


def test_a_request_for_an_adapter_names_it_as_its_model() -> None:
    """That is the name that the client sent."""
    assert spans_of(with_(adapter="sql"))[0].attributes["gen_ai.request.model"] == "sql"


@pytest.mark.parametrize("arrival_s", [0.0, OFFSET_S + 11, float("nan"), 1e300])
def test_a_front_end_whose_clock_is_off_is_not_believed(arrival_s: float) -> None:
    """The request then begins when the scheduler got it."""
    replica, engine, *_ = spans_of(with_(arrival_s=arrival_s))

    assert replica.start_ns == engine.start_ns


@given(requests)
def test_nothing_in_a_datagram_raises(request: EngineRequest) -> None:
    """And no span ends before it begins."""
    spans = spans_of(request)

    known = {CALLER, *(span.span_id for span in spans)}
    assert all(span.start_ns <= span.end_ns for span in spans)
    assert all(span.parent_span_id in known for span in spans)


@given(st.lists(seconds, min_size=4, max_size=4).map(sorted))
def test_stages_follow_one_another(times: list[float]) -> None:
    """They fill the engine's span."""
    queued_s, scheduled_s, first_s, ended_s = times
    _, engine, *stages = spans_of(
        with_(queued_s=queued_s, scheduled_s=scheduled_s, first_token_s=first_s, ended_s=ended_s)
    )

    assert (stages[0].start_ns, stages[-1].end_ns) == (engine.start_ns, engine.end_ns)
    assert all(before.end_ns == after.start_ns for before, after in pairwise(stages))
