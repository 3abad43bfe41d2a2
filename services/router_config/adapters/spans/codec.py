"""Pure translation of HAProxy's span log: one JSON line to one finished span.

HAProxy decided the ids and already sent them to the replica, so the span is built, not started.
Its phases are events: `held` where it was, `queued`, `connected`, `first_byte`; times are whole
milliseconds.
Source: HAProxy 2.8 configuration manual, section 8.4 (timing events); the line's fields are
written by `libs/haproxy/template.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final

from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import SpanKind
from pydantic import StringConstraints, TypeAdapter, ValidationError

from libs.errors import TerminalError
from libs.telemetry.finished_span import Attribute, FinishedSpan

SCOPE: Final = "sluice.edge"
_NO_PORT: Final = "0"
"""What HAProxy writes for a unix socket, with `unix` for an address."""
_SERVER_ERRORS_FROM: Final = 500
_OPERATIONS: Final[Mapping[str, str]] = {
    "/v1/chat/completions": "chat",
    "/v1/responses": "chat",
    "/v1/messages": "chat",
    "/v1/completions": "text_completion",
    "/v1/embeddings": "embeddings",
}


TraceText = Annotated[str, StringConstraints(pattern="^[0-9a-f]{32}$")]
SpanText = Annotated[str, StringConstraints(pattern="^[0-9a-f]{16}$")]
ParentText = Annotated[str, StringConstraints(pattern="^([0-9a-f]{16}|-?)$")]
"""What goes into a batch beside other requests' spans must be what it says."""


class BadSpanLineError(TerminalError):
    """A line of the span log cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanLine:
    """One line as HAProxy writes it; -1 stands for a phase that was not reached.

    Attributes:
        tenant: a HAProxy that serves its last streams after a reload may not tell it.
    """

    trace_id: TraceText
    span_id: SpanText
    parent_id: ParentText
    started_us: int
    request_ms: int
    queue_ms: int
    connect_ms: int
    response_ms: int
    data_ms: int
    active_ms: int
    status: int
    bytes_out: int
    method: str
    path: str
    model: str
    pool: str
    server: str
    server_ip: str
    server_port: str
    ended: str
    retries: str
    queued_before: int
    tenant: str = "-"
    held_ms: str = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeIdentity:
    """Whose spans these are."""

    edge_id: str
    host: str
    port: int

    def resource(self) -> Resource:
        """Return the resource that all spans of this edge share."""
        return Resource.create({"service.name": "edge", "service.instance.id": self.edge_id})


_LINE: Final = TypeAdapter(SpanLine)


def parse_line(datagram: bytes) -> SpanLine:
    """Read one datagram.

    Raises:
        BadSpanLineError: it is no JSON object with these fields.
    """
    try:
        return _LINE.validate_json(datagram)
    except ValidationError as exc:
        raise BadSpanLineError(text=datagram[:200]) from exc


def to_span(line: SpanLine, identity: EdgeIdentity, *, front_end: str | None) -> FinishedSpan:
    """Build the finished span of one request; a front end of None is unknown."""
    begin_us = line.started_us - max(0, line.request_ms - _held_ms(line)) * 1000
    parent = _known(line.parent_id)
    return FinishedSpan(
        name="edge",
        trace_id=line.trace_id,
        span_id=line.span_id,
        parent_span_id=parent,
        is_parent_remote=bool(parent),
        kind=SpanKind.SERVER,
        start_ns=begin_us * 1000,
        end_ns=(begin_us + max(0, line.active_ms) * 1000) * 1000,
        attributes=_attributes(line, identity, front_end),
        events=_events(line),
        is_error=line.status >= _SERVER_ERRORS_FROM or line.status < 0,
    )


def _attributes(
    line: SpanLine, identity: EdgeIdentity, front_end: str | None
) -> dict[str, Attribute]:
    return {
        "http.request.method": line.method,
        "url.path": line.path,
        "http.response.status_code": line.status,
        "server.address": identity.host,
        "server.port": identity.port,
        "sluice.pool": line.pool,
        "sluice.queue_ms": max(0, line.queue_ms),
        "sluice.queued_before": line.queued_before,
        "sluice.bytes_out": line.bytes_out,
        "sluice.retries": int(line.retries),
        "sluice.termination": line.ended,
        **_held_attributes(line),
        **_tenant_attributes(line),
        **_model_attributes(line),
        **_replica_attributes(line, front_end),
    }


def _held_attributes(line: SpanLine) -> dict[str, Attribute]:
    held_ms = _held_ms(line)
    return {"sluice.held_ms": held_ms} if held_ms else {}


def _held_ms(line: SpanLine) -> int:
    held = _known(line.held_ms)
    return int(held) if held else 0


def _tenant_attributes(line: SpanLine) -> dict[str, Attribute]:
    tenant = _known(line.tenant)
    return {"sluice.tenant": tenant} if tenant else {}


def _model_attributes(line: SpanLine) -> dict[str, Attribute]:
    model = _known(line.model)
    operation = _OPERATIONS.get(line.path)
    named: dict[str, Attribute] = {}
    if model:
        named = {"sluice.model": model, "gen_ai.request.model": model}
    if operation:
        named["gen_ai.operation.name"] = operation
    return named


def _replica_attributes(line: SpanLine, front_end: str | None) -> dict[str, Attribute]:
    replica_id, dot, incarnation = line.server.rpartition(".")
    if not dot:
        return {}
    found: dict[str, Attribute] = {
        "sluice.replica_id": replica_id,
        "sluice.incarnation": incarnation,
    }
    if front_end is not None:
        found["sluice.front_end"] = front_end
    if line.server_port.isdecimal() and line.server_port != _NO_PORT:
        found["network.peer.address"] = line.server_ip
        found["network.peer.port"] = int(line.server_port)
    else:
        found["network.transport"] = "unix"
    return found


def _events(line: SpanLine) -> list[tuple[str, int]]:
    """One event at the end of each phase that was reached, in order."""
    at_us = line.started_us + _held_ms(line) * 1000
    events = [("held", at_us * 1000)] if _held_ms(line) else []
    for name, passed_ms in (
        ("queued", line.queue_ms),
        ("connected", line.connect_ms),
        ("first_byte", line.response_ms),
    ):
        if passed_ms < 0:
            break
        at_us += passed_ms * 1000
        events.append((name, at_us * 1000))
    return events


def _known(text: str) -> str:
    """HAProxy writes a dash for what is not set."""
    return "" if text == "-" else text
