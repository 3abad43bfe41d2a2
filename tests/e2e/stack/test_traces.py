"""A sampled request is one tree: edge, replica, engine, under the client's own trace id."""

import secrets
from pathlib import Path

import httpx

from libs.telemetry.otlp_json import Span, read_spans
from libs.testing.local_stack import LocalStack, wait_until


def spans_of(traces: Path, trace_id: str) -> dict[str, Span]:
    """Return the spans of one trace by name."""
    return {span.name: span for span in read_spans(traces) if span.trace_id == trace_id}


def test_a_request_is_one_tree_from_edge_to_engine(stack: LocalStack) -> None:
    """HAProxy's log, the replica's server and vLLM's engine name each other as parents."""
    trace_id, client_span = secrets.token_hex(16), secrets.token_hex(8)
    httpx.post(
        f"{stack.api_url}/v1/completions",
        json={"model": "smollm2", "prompt": "Hello", "max_tokens": 4},
        headers={"traceparent": f"00-{trace_id}-{client_span}-01"},
        timeout=60,
    ).raise_for_status()

    traces = stack.var / "traces"
    names = {"edge", "replica", "engine"}
    wait_until(
        lambda: names <= spans_of(traces, trace_id).keys(), timeout_s=60, what="the trace's spans"
    )

    spans = spans_of(traces, trace_id)
    assert spans["edge"].parent_span_id == client_span
    assert spans["replica"].parent_span_id == spans["edge"].span_id
    assert spans["engine"].parent_span_id == spans["replica"].span_id
    assert spans["engine"].attributes["gen_ai.usage.output_tokens"] == 4
    assert spans["edge"].start_s <= spans["replica"].start_s <= spans["engine"].end_s


def test_control_plane_changes_are_traced_too(stack: LocalStack) -> None:
    """A replica that becomes ready and the routing that follows share a trace."""

    def share_a_trace() -> bool:
        found = read_spans(stack.var / "traces")
        ready = {span.trace_id for span in found if span.service == "replica"}
        applied = {span.trace_id for span in found if span.service == "router-config"}
        return not ready.isdisjoint(applied)

    wait_until(share_a_trace, timeout_s=60, what="a trace of both")
