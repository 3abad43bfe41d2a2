"""OTLP-JSON lines: what is written is what the specification says, and is read back whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, Status, StatusCode

from libs.telemetry.otlp_json import parse_line, read_spans
from libs.telemetry.otlp_render import render_line

SCALARS = st.one_of(
    st.text(), st.booleans(), st.integers(-(2**62), 2**62), st.floats(allow_nan=False)
)


@given(attributes=st.dictionaries(st.text(min_size=1), SCALARS, max_size=5))
def test_attributes_survive_the_file(attributes: dict[str, str | bool | int | float]) -> None:
    """Names and values come back as they were, of the same type."""
    finished = record_spans(attributes)

    (span, _) = parse_line(render_line(finished))

    assert span.attributes == attributes


def test_a_parent_and_its_child_are_read_back_as_a_tree() -> None:
    """Ids, kinds, times, status and the sender are all there."""
    finished = record_spans({"n": 1})

    child, parent = parse_line(render_line(finished))

    assert (child.trace_id, child.parent_span_id) == (parent.trace_id, parent.span_id)
    assert parent.parent_span_id is None
    assert (parent.name, parent.kind, parent.service) == ("parent", 2, "svc")
    assert (child.status, child.status_message) == (2, "broken")
    assert parent.start_s <= child.start_s <= child.end_s <= parent.end_s


def test_ids_are_hexadecimal_and_enums_are_numbers() -> None:
    """The two places where OTLP-JSON differs from protobuf's own JSON."""
    finished = record_spans({"traceId": "not an id"})

    tree = json.loads(render_line(finished))
    span = tree["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    context = finished[0].get_span_context()

    assert context is not None
    assert span["traceId"] == f"{context.trace_id:032x}"
    assert span["spanId"] == f"{context.span_id:016x}"
    assert span["kind"] == 1
    assert isinstance(span["startTimeUnixNano"], str)
    assert span["attributes"] == [{"key": "traceId", "value": {"stringValue": "not an id"}}]


def test_a_line_that_was_cut_short_costs_only_itself(tmp_path: Path) -> None:
    """A killed process leaves half a line."""
    line = render_line(record_spans({}))
    (tmp_path / "a-1.jsonl").write_bytes(line + line[:100])
    (tmp_path / "b-2.jsonl").write_bytes(line)

    assert len(read_spans(tmp_path)) == 4


@pytest.mark.parametrize("line", ["", "{", "[]", '{"resourceSpans": 3}'])
def test_what_is_no_request_is_refused(line: str) -> None:
    """A parse error, not an empty list."""
    with pytest.raises(ValueError, match="no OTLP-JSON"):
        parse_line(line)


def record_spans(attributes: dict[str, str | bool | int | float]) -> tuple[ReadableSpan, ...]:
    """Return a finished child and its finished parent."""
    memory = InMemorySpanExporter()
    provider = TracerProvider(resource=Resource({"service.name": "svc"}))
    provider.add_span_processor(SimpleSpanProcessor(memory))
    tracer = provider.get_tracer("scope")
    with tracer.start_as_current_span("parent", kind=SpanKind.SERVER):
        child = tracer.start_span("child", attributes=attributes)
        child.set_status(Status(StatusCode.ERROR, "broken"))
        child.end()
    return memory.get_finished_spans()
