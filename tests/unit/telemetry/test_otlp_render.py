"""OTLP-JSON as it is written is what the exporter's own protobuf messages say."""

from __future__ import annotations

import base64
import json
from typing import TypeAlias

from google.protobuf.json_format import MessageToDict  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
)

from libs.telemetry.otlp_render import render_line

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"

STATE = TraceState([("vendor", "a"), ("other", "b")])
CALLERS = [SpanContext(7, 8, is_remote, TraceFlags(1), STATE) for is_remote in (True, False)]
IDS = ("traceId", "spanId", "parentSpanId")
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
scalars = st.one_of(text, st.booleans(), st.integers(-(2**62), 2**62), st.floats())
values = st.one_of(
    scalars, st.lists(text, max_size=3), st.lists(st.integers(0, 9), max_size=3), st.binary()
)
attributes = st.dictionaries(text.filter(bool), values, max_size=5)


def with_hex_ids(tree: Json) -> Json:
    """Turn protobuf's own JSON into OTLP's: ids are hexadecimal there."""
    match tree:
        case dict():
            return {key: as_otlp(key, value) for key, value in tree.items()}
        case list():
            return [with_hex_ids(value) for value in tree]
        case _:
            return tree


def as_otlp(key: str, value: Json) -> Json:
    """Leave attributes alone: they are user data."""
    if key in IDS and isinstance(value, str):
        return base64.b64decode(value).hex()
    return value if key == "attributes" else with_hex_ids(value)


def expected(spans: tuple[ReadableSpan, ...]) -> Json:
    """Return what the exporter's messages say."""
    return with_hex_ids(MessageToDict(encode_spans(spans), use_integers_for_enums=True))


def recorded(
    given_attributes: dict[str, str | bool | int | float], kind: SpanKind, caller: SpanContext
) -> tuple[ReadableSpan, ...]:
    """Return spans of two scopes with everything that a span can have, and with nothing."""
    memory = InMemorySpanExporter()
    limits = SpanLimits(max_span_attributes=3, max_events=2, max_links=1)
    provider = TracerProvider(
        resource=Resource({"service.name": "svc"}, "https://schema"), span_limits=limits
    )
    provider.add_span_processor(SimpleSpanProcessor(memory))
    span = provider.get_tracer("one", "1.2", attributes={"a": 1}).start_span(
        "full",
        context=trace.set_span_in_context(NonRecordingSpan(caller)),
        kind=kind,
        attributes=given_attributes,
        links=[Link(caller, given_attributes), Link(caller)],
    )
    for name in ("first", "second", "third"):
        span.add_event(name, given_attributes)
    span.set_status(Status(StatusCode.ERROR, "broken"))
    span.end()
    provider.get_tracer("two").start_span("bare").end()
    return memory.get_finished_spans()


@given(attributes, st.sampled_from(SpanKind), st.sampled_from(CALLERS))
def test_a_line_says_what_the_exporter_says(
    given_attributes: dict[str, str | bool | int | float], kind: SpanKind, caller: SpanContext
) -> None:
    """Values of every type, events, links, states, and what was dropped."""
    spans = recorded(given_attributes, kind, caller)

    line = render_line(spans)

    assert json.loads(line) == expected(spans)
    assert line.endswith(b"}\n")


def test_no_spans_are_an_empty_request() -> None:
    """Exporters never get that, but it must not break."""
    assert json.loads(render_line(())) == {"resourceSpans": []}
