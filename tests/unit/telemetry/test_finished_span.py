"""A finished span is written as the SDK's own span would be."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from libs.telemetry.finished_span import FinishedSpan, FinishedSpanLine, as_readable
from libs.telemetry.otlp_json import parse_line
from libs.telemetry.otlp_render import render_line
from libs.telemetry.tracing import ServiceTracerProvider

RESOURCE = Resource({"service.name": 'a "spans" \0 service', "n": 1}, "https://schema")
SCOPE = "services.replica"
hex16 = st.integers(1, 2**64 - 1).map("{:016x}".format)
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
values = st.one_of(
    text, st.integers(-(2**62), 2**62), st.floats(), st.lists(text, max_size=3).map(tuple)
)
spans = st.builds(
    FinishedSpan,
    name=text.filter(bool),
    trace_id=st.integers(1, 2**128 - 1).map("{:032x}".format),
    span_id=hex16,
    parent_span_id=hex16 | st.just(""),
    is_parent_remote=st.booleans(),
    kind=st.sampled_from([SpanKind.INTERNAL, SpanKind.SERVER, SpanKind.CLIENT]),
    start_ns=st.integers(1, 2**62),
    end_ns=st.integers(1, 2**62),
    attributes=st.dictionaries(text.filter(bool), values, max_size=4),
    events=st.lists(st.tuples(text.filter(bool), st.integers(1, 2**62)), max_size=2),
    is_error=st.booleans(),
).map(lambda span: span if span.parent_span_id else replace(span, is_parent_remote=False))


@given(st.lists(spans, min_size=1, max_size=4))
def test_both_encodings_say_the_same(found: list[FinishedSpan]) -> None:
    """A reader cannot tell from a span which way it came."""
    readable = [as_readable(span, RESOURCE, SCOPE) for span in found]

    line = FinishedSpanLine(RESOURCE, SCOPE).render(found)

    assert json.dumps(json.loads(line)) == json.dumps(json.loads(render_line(readable)))
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1


def test_a_line_reads_back() -> None:
    """The readers of span files know it."""
    span = FinishedSpan(
        name="engine",
        trace_id="a" * 32,
        span_id="b" * 16,
        parent_span_id="c" * 16,
        start_ns=1_000_000_000,
        end_ns=3_000_000_000,
        attributes={"reasons": ("stop",), "tokens": 4},
        is_error=True,
    )

    (found,) = parse_line(FinishedSpanLine(RESOURCE, SCOPE).render([span]))

    assert (found.name, found.parent_span_id, found.duration_s) == ("engine", "c" * 16, 2.0)
    assert (found.attributes, found.status) == ({"reasons": ("stop",), "tokens": 4}, 2)


@pytest.mark.parametrize(
    ("trace", "span", "parent"), [("evil", *"bb"), (*'a"', ""), (*"ab", "00-")]
)
def test_a_span_with_ids_that_are_none_takes_no_other_with_it(
    trace: str, span: str, parent: str
) -> None:
    """Neither in a line of a file nor on its way to a collector."""
    good = FinishedSpan(
        name="good",
        trace_id="a" * 32,
        span_id="b" * 16,
        parent_span_id="",
        start_ns=1,
        end_ns=3,
        attributes={},
    )
    bad = replace(
        good, name="bad", trace_id=trace * 32, span_id=span * 16, parent_span_id=parent * 16
    )
    batch = [good, bad, replace(good, name="last")]
    kept = InMemorySpanExporter()
    provider = ServiceTracerProvider()
    provider.export_to(kept)
    record = provider.recorder(SCOPE)
    assert record is not None

    record(batch)
    provider.force_flush()

    read = parse_line(FinishedSpanLine(RESOURCE, SCOPE).render(batch))
    assert [span.name for span in read] == ["good", "last"]
    assert [span.name for span in kept.get_finished_spans()] == ["good", "last"]
