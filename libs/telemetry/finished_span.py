"""Spans of work that was observed elsewhere and is over: plain data, and two encodings of it.

The SDK's span objects cost more than the work that they describe when a process makes five of them
for each request of another process. `FinishedSpanLine` writes the same OTLP-JSON as
`render_line` does for SDK spans; a test holds both against each other.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from json.encoder import encode_basestring_ascii as quoted
from typing import Final, TypeAlias

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from libs.telemetry.otlp_render import render_line

Attribute: TypeAlias = str | int | float | tuple[str, ...]

_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)
_KINDS: Final = {SpanKind.INTERNAL: 1, SpanKind.SERVER: 2, SpanKind.CLIENT: 3}
_TRACE_ID: Final = re.compile("[0-9a-f]{32}")
_SPAN_ID: Final = re.compile("[0-9a-f]{16}")
_HAS_IS_REMOTE: Final = 0x100
_IS_REMOTE: Final = 0x200


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedSpan:
    """One span.

    Attributes:
        trace_id: 32 hexadecimal digits; `span_id` and `parent_span_id` have 16.
        parent_span_id: empty for the root of a trace.
        is_parent_remote: the parent is another process's span.
        kind: internal, server or client.
        start_ns: Unix time in nanoseconds; `end_ns` as well.
        events: names with Unix times in nanoseconds.
        is_error: whether its status is an error.
    """

    name: str
    trace_id: str
    span_id: str
    parent_span_id: str
    is_parent_remote: bool = False
    kind: SpanKind = SpanKind.INTERNAL
    start_ns: int
    end_ns: int
    attributes: Mapping[str, Attribute]
    events: Sequence[tuple[str, int]] = ()
    is_error: bool = False


def is_valid(span: FinishedSpan) -> bool:
    """Tell whether a span's ids are ids: one that has others must not spoil a whole batch."""
    return (
        _TRACE_ID.fullmatch(span.trace_id) is not None
        and _SPAN_ID.fullmatch(span.span_id) is not None
        and (not span.parent_span_id or _SPAN_ID.fullmatch(span.parent_span_id) is not None)
    )


class FinishedSpanLine:
    """Renders spans of one process as lines of OTLP-JSON; pure."""

    def __init__(self, resource: Resource, scope: str) -> None:
        """Take what every line says of its sender."""
        sample = as_readable(_ANY, resource, scope)
        whole = json.loads(render_line([sample]))
        whole["resourceSpans"][0]["scopeSpans"][0]["spans"] = [_PLACE]
        text = json.dumps(whole, separators=(",", ":"))
        self._head, self._tail = text.split(json.dumps(_PLACE))

    def render(self, spans: Sequence[FinishedSpan]) -> bytes:
        """Render one `ExportTraceServiceRequest` with its line end."""
        texts = [_span(span) for span in spans if is_valid(span)]
        return f"{self._head}{','.join(texts)}{self._tail}\n".encode()


def as_readable(span: FinishedSpan, resource: Resource, scope: str) -> ReadableSpan:
    """Return a span as the SDK's processors and exporters take it."""
    trace_id = int(span.trace_id, 16)
    parent = int(span.parent_span_id or "0", 16)
    remote = span.is_parent_remote
    return ReadableSpan(
        name=span.name,
        context=SpanContext(trace_id, int(span.span_id, 16), is_remote=False, trace_flags=_SAMPLED),
        parent=SpanContext(trace_id, parent, is_remote=remote, trace_flags=_SAMPLED)
        if parent
        else None,
        resource=resource,
        attributes=span.attributes,
        events=[Event(name, timestamp=at_ns) for name, at_ns in span.events],
        kind=span.kind,
        instrumentation_scope=InstrumentationScope(scope),
        status=Status(StatusCode.ERROR if span.is_error else StatusCode.UNSET),
        start_time=span.start_ns,
        end_time=span.end_ns,
    )


_PLACE: Final = "\0"
"""Stands where spans go, and is no text of a resource."""

_ANY: Final = FinishedSpan(
    name="any",
    trace_id="1" * 32,
    span_id="1" * 16,
    parent_span_id="1" * 16,
    start_ns=1,
    end_ns=1,
    attributes={},
)


def _span(span: FinishedSpan) -> str:
    flags = _HAS_IS_REMOTE | _IS_REMOTE if span.is_parent_remote else _HAS_IS_REMOTE
    pairs = ",".join(
        [
            f'{{"key":{quoted(key)},"value":{_value(value)}}}'
            for key, value in span.attributes.items()
        ]
    )
    attributes = f'"attributes":[{pairs}],' if pairs else ""
    parent = f'"parentSpanId":"{span.parent_span_id}",' if span.parent_span_id else ""
    return (
        f'{{"traceId":"{span.trace_id}","spanId":"{span.span_id}",'
        f'{parent}"flags":{flags},"name":{quoted(span.name)},'
        f'"kind":{_KINDS[span.kind]},"startTimeUnixNano":"{span.start_ns}",'
        f'"endTimeUnixNano":"{span.end_ns}",{attributes}{_events(span.events)}'
        f'"status":{_ERROR if span.is_error else "{}"}}}'
    )


def _events(events: Sequence[tuple[str, int]]) -> str:
    if not events:
        return ""
    texts = [f'{{"timeUnixNano":"{at_ns}","name":{quoted(name)}}}' for name, at_ns in events]
    return f'"events":[{",".join(texts)}],'


_ERROR: Final = f'{{"code":{StatusCode.ERROR.value}}}'


def _value(value: Attribute) -> str:
    if isinstance(value, str):
        return f'{{"stringValue":{quoted(value)}}}'
    if isinstance(value, int):
        return f'{{"intValue":"{value}"}}'
    if isinstance(value, float):
        return f'{{"doubleValue":{value!r}}}' if math.isfinite(value) else _not_finite(value)
    values = ",".join(map(_value, value))
    return f'{{"arrayValue":{{"values":[{values}]}}}}' if value else '{"arrayValue":{}}'


def _not_finite(value: float) -> str:
    name = "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return f'{{"doubleValue":"{name}"}}'
