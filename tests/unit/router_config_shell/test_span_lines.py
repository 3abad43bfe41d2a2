"""HAProxy's span log, line by line, as 2.8.25 wrote it."""

from __future__ import annotations

import json

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode

from libs.telemetry.finished_span import as_readable
from services.router_config.adapters.spans.codec import (
    SCOPE,
    BadSpanLineError,
    EdgeIdentity,
    parse_line,
    to_span,
)

SERVED = {
    "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
    "span_id": "8824e4528d4503ce",
    "parent_id": "00f067aa0ba902b7",
    "started_us": 1_795_453_681_676_600,
    "request_ms": 2,
    "held_ms": "-",
    "queue_ms": 30,
    "connect_ms": 1,
    "response_ms": 200,
    "data_ms": 1000,
    "active_ms": 1233,
    "status": 200,
    "bytes_out": 260,
    "method": "POST",
    "path": "/v1/chat/completions",
    "tenant": "acme",
    "model": "m",
    "pool": "lc0",
    "server": "r1.0a1b2c3d",
    "server_ip": "127.0.0.1",
    "server_port": "8000",
    "ended": "----",
    "retries": "+1",
    "queued_before": 3,
}
REFUSED = {
    **SERVED,
    "parent_id": "-",
    "request_ms": 0,
    "queue_ms": -1,
    "connect_ms": -1,
    "response_ms": -1,
    "data_ms": -1,
    "active_ms": 0,
    "status": 404,
    "tenant": "-",
    "model": "-",
    "pool": "api",
    "server": "<NOSRV>",
    "server_ip": "-",
    "server_port": "-",
    "ended": "LR--",
    "retries": "0",
    "queued_before": 0,
}
IDENTITY = EdgeIdentity(edge_id="edge", host="127.0.0.1", port=8080)


def span_of(line: dict[str, object], front_end: str | None = None) -> ReadableSpan:
    """Translate a line as it comes in: JSON with a newline."""
    datagram = json.dumps(line).encode() + b"\n"
    span = to_span(parse_line(datagram), IDENTITY, front_end=front_end)
    return as_readable(span, IDENTITY.resource(), SCOPE)


def test_a_served_request_is_a_server_span_under_its_clients_span() -> None:
    """With the ids that HAProxy gave to the replica."""
    span = span_of(SERVED)

    assert span.name == "edge"
    assert span.kind is SpanKind.SERVER
    assert f"{span.context.trace_id:032x}" == SERVED["trace_id"]
    assert f"{span.context.span_id:016x}" == SERVED["span_id"]
    assert span.context.trace_flags.sampled
    assert span.parent is not None
    assert f"{span.parent.span_id:016x}" == SERVED["parent_id"]
    assert span.resource.attributes["service.name"] == "edge"


def test_a_span_lasts_from_the_first_byte_in_to_the_last_byte_out() -> None:
    """Rules run when the headers are there, so the span begins before them."""
    span = span_of(SERVED)

    assert span.start_time == (1_795_453_681_676_600 - 2_000) * 1000
    assert span.end_time is not None
    assert (span.end_time - span.start_time) == 1233 * 1_000_000


def test_phases_are_events_in_their_order() -> None:
    """Each stands at its end."""
    began_ns = 1_795_453_681_676_600 * 1000

    events = [(e.name, (e.timestamp - began_ns) // 1_000_000) for e in span_of(SERVED).events]

    assert events == [("queued", 30), ("connected", 31), ("first_byte", 231)]


def test_a_hold_is_a_phase_before_the_queue() -> None:
    """HAProxy counts it as part of the request's arrival; the span begins where it did arrive."""
    held = {**SERVED, "request_ms": 902, "held_ms": "900", "active_ms": 2133}

    span = span_of(held)

    began_ns = 1_795_453_681_676_600 * 1000
    events = [(e.name, (e.timestamp - began_ns) // 1_000_000) for e in span.events]
    assert events == [("held", 900), ("queued", 930), ("connected", 931), ("first_byte", 1131)]
    assert span.start_time == began_ns - 2_000_000
    assert dict(span.attributes or {})["sluice.held_ms"] == 900


def test_attributes_follow_the_conventions() -> None:
    """HTTP's and GenAI's names where there are any, ours for the rest."""
    attributes = dict(span_of(SERVED).attributes or {})

    assert attributes == {
        "http.request.method": "POST",
        "url.path": "/v1/chat/completions",
        "http.response.status_code": 200,
        "server.address": "127.0.0.1",
        "server.port": 8080,
        "network.peer.address": "127.0.0.1",
        "network.peer.port": 8000,
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "m",
        "sluice.model": "m",
        "sluice.tenant": "acme",
        "sluice.pool": "lc0",
        "sluice.replica_id": "r1",
        "sluice.incarnation": "0a1b2c3d",
        "sluice.queue_ms": 30,
        "sluice.queued_before": 3,
        "sluice.bytes_out": 260,
        "sluice.retries": 1,
        "sluice.termination": "----",
    }


def test_a_request_over_a_unix_socket_has_no_peers_address() -> None:
    """It names the front end that answered."""
    there = {**SERVED, "server_ip": "unix", "server_port": "0"}

    attributes = dict(span_of(there, "rust").attributes or {})

    assert attributes["sluice.front_end"] == "rust"
    assert attributes["network.transport"] == "unix"
    assert not {"network.peer.address", "network.peer.port"} & attributes.keys()


def test_a_refused_request_has_no_phases_and_no_replica() -> None:
    """And without a parent it begins its trace."""
    span = span_of(REFUSED)
    attributes = dict(span.attributes or {})

    assert span.parent is None
    assert span.events == ()
    missing = {"sluice.replica_id", "sluice.model", "sluice.tenant", "network.peer.address"}
    assert not attributes.keys() & missing
    assert span.end_time == span.start_time


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (200, StatusCode.UNSET),
        (404, StatusCode.UNSET),
        (503, StatusCode.ERROR),
        (-1, StatusCode.ERROR),
    ],
)
def test_only_server_errors_are_errors_of_the_server(status: int, expected: StatusCode) -> None:
    """A client that left before its answer has status -1."""
    assert span_of({**SERVED, "status": status}).status.status_code is expected


@pytest.mark.parametrize("datagram", [b"", b"<134>hello", b"{}", b'{"trace_id": 1}'])
def test_unreadable_lines_are_told(datagram: bytes) -> None:
    """Anybody on the machine's side of the socket could write one."""
    with pytest.raises(BadSpanLineError):
        parse_line(datagram)


@pytest.mark.parametrize(
    "wrong",
    [
        {"trace_id": "x"},
        {"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736\n"},
        {"span_id": "8824e4528d4503c"},
        {"parent_id": "evil"},
    ],
)
def test_a_line_with_other_ids_is_unreadable(wrong: dict[str, str]) -> None:
    """Alone: as a span it would spoil those of everybody in its batch."""
    with pytest.raises(BadSpanLineError):
        parse_line(json.dumps(SERVED | wrong).encode())
