"""Trace context in headers."""

from __future__ import annotations

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from libs.telemetry.context import extract, inject, only_trace_headers, request_id_of

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_outside_any_span_there_are_no_headers() -> None:
    """Nothing is invented."""
    assert inject() == {}


def test_a_context_survives_headers() -> None:
    """What is extracted is what was injected."""
    tracer = TracerProvider().get_tracer("test")

    with tracer.start_as_current_span("here") as span:
        headers = inject()
    found = trace.get_current_span(extract(headers)).get_span_context()

    assert found.trace_id == span.get_span_context().trace_id
    assert found.span_id == span.get_span_context().span_id
    assert found.is_remote


def test_bad_headers_are_no_context() -> None:
    """A foreign or broken header starts a new trace instead of failing."""
    context = extract({"traceparent": "00-zz"})

    assert not trace.get_current_span(context).get_span_context().is_valid


def test_other_headers_are_left_behind() -> None:
    """Only trace context travels on."""
    assert only_trace_headers({"traceparent": TRACEPARENT, "Nats-Msg-Id": "1"}) == {
        "traceparent": TRACEPARENT
    }
    assert only_trace_headers(None) == {}


def test_a_sampled_span_has_a_request_id_and_no_other_has() -> None:
    """The engine core's plugin reports the requests whose id ends in -01."""
    sampled, dropped = (
        trace.get_current_span(extract({"traceparent": TRACEPARENT[:-1] + flag}))
        for flag in ("1", "0")
    )

    assert request_id_of(sampled.get_span_context()) == TRACEPARENT.removeprefix("00-")
    assert request_id_of(dropped.get_span_context()) is None
    assert request_id_of(trace.INVALID_SPAN_CONTEXT) is None
