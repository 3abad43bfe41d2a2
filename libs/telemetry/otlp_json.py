"""OTLP-JSON, read: lines as typed spans. `otlp_render.py` writes them.

Source: OpenTelemetry protocol specification, "JSON Protobuf Encoding".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

AttributeValue: TypeAlias = "str | bool | int | float | tuple[AttributeValue, ...] | None"

_NS_PER_S: Final = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One span as written.

    Attributes:
        trace_id: 32 hexadecimal digits; span_id and parent_span_id have 16.
        parent_span_id: None for the root of a trace.
        kind: 1 internal, 2 server, 3 client, 4 producer, 5 consumer.
        start_s: Unix time in seconds; end_s as well.
        status: 0 unset, 1 ok, 2 error.
    """

    service: str
    instance_id: str
    scope: str
    name: str
    trace_id: str
    span_id: str
    parent_span_id: str | None
    kind: int
    start_s: float
    end_s: float
    status: int
    status_message: str
    attributes: Mapping[str, AttributeValue]
    links: tuple[str, ...] = ()

    @property
    def duration_s(self) -> float:
        """How long it took."""
        return self.end_s - self.start_s


def parse_line(line: str | bytes) -> list[Span]:
    """Parse one line.

    Raises:
        ValueError: the line is no `ExportTraceServiceRequest`.
    """
    try:
        request = _Request.model_validate_json(line)
    except ValidationError as exc:
        message = f"no OTLP-JSON: {exc.errors()[0]['msg']}"
        raise ValueError(message) from exc
    return [
        _span(_attributes(whole.resource.attributes), part.scope.name, span)
        for whole in request.resource_spans
        for part in whole.scope_spans
        for span in part.spans
    ]


def read_spans(folder: Path) -> list[Span]:
    """Read every span under a folder, by start time; lines that are cut short are left out.

    A process that is killed may leave its last line unfinished.
    """
    spans = [span for path in sorted(folder.glob("*.jsonl")) for span in _spans_of(path)]
    return sorted(spans, key=lambda span: span.start_s)


class _Model(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, frozen=True)


class _Value(_Model):
    string_value: str | None = None
    bool_value: bool | None = None
    int_value: int | None = None
    double_value: float | None = None
    array_value: _Array | None = None


class _Array(_Model):
    values: tuple[_Value, ...] = ()


class _Attribute(_Model):
    key: str
    value: _Value = Field(default_factory=_Value)


class _Attributed(_Model):
    attributes: tuple[_Attribute, ...] = ()


class _Scope(_Model):
    name: str = ""


class _Link(_Model):
    trace_id: str
    span_id: str


class _Status(_Model):
    code: int = 0
    message: str = ""


class _Span(_Attributed):
    trace_id: str
    span_id: str
    parent_span_id: str = ""
    name: str = ""
    kind: int = 0
    start_time_unix_nano: int = 0
    end_time_unix_nano: int = 0
    links: tuple[_Link, ...] = ()
    status: _Status = Field(default_factory=_Status)


class _ScopeSpans(_Model):
    scope: _Scope = Field(default_factory=_Scope)
    spans: tuple[_Span, ...] = ()


class _ResourceSpans(_Model):
    resource: _Attributed = Field(default_factory=_Attributed)
    scope_spans: tuple[_ScopeSpans, ...] = ()


class _Request(_Model):
    resource_spans: tuple[_ResourceSpans, ...] = ()


def _span(of: Mapping[str, AttributeValue], scope: str, raw: _Span) -> Span:
    return Span(
        service=str(of.get("service.name", "")),
        instance_id=str(of.get("service.instance.id", "")),
        scope=scope,
        name=raw.name,
        trace_id=raw.trace_id,
        span_id=raw.span_id,
        parent_span_id=raw.parent_span_id or None,
        kind=raw.kind,
        start_s=raw.start_time_unix_nano / _NS_PER_S,
        end_s=raw.end_time_unix_nano / _NS_PER_S,
        status=raw.status.code,
        status_message=raw.status.message,
        attributes=_attributes(raw.attributes),
        links=tuple(link.trace_id for link in raw.links),
    )


def _attributes(raw: Iterable[_Attribute]) -> dict[str, AttributeValue]:
    return {attribute.key: _plain(attribute.value) for attribute in raw}


def _plain(value: _Value) -> AttributeValue:
    if value.array_value is not None:
        return tuple(_plain(one) for one in value.array_value.values)
    choices = (value.string_value, value.bool_value, value.int_value, value.double_value)
    return next((choice for choice in choices if choice is not None), None)


def _spans_of(path: Path) -> Iterator[Span]:
    with path.open("rb") as lines:
        for line in lines:
            try:
                yield from parse_line(line)
            except ValueError:
                continue
