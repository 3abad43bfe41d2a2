"""Traces: each request has the edge's span, each change belongs to the replica that caused it."""

from __future__ import annotations

from opentelemetry.sdk.trace import TracerProvider

from libs.telemetry.otlp_json import Span, read_spans
from libs.testing.edge_world import EdgeWorld
from libs.testing.eventually import eventually


async def until_span(world: EdgeWorld, *, name: str, trace_id: str) -> Span:
    """Wait until a span of a trace is written."""

    async def written() -> Span | None:
        found = read_spans(world.folder / "traces")
        return next((s for s in found if (s.name, s.trace_id) == (name, trace_id)), None)

    span = await eventually(written, what=f"the span {name}")
    assert span is not None
    return span


async def test_a_request_has_the_edges_span_between_client_and_replica(world: EdgeWorld) -> None:
    """Its ids are those that the replica was given."""
    replica = await world.replica("r1")
    await world.join(replica)
    await world.until_answers(200)
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

    await world.http.post(
        "/v1/chat/completions", json={"model": "m"}, headers={"traceparent": parent}
    )

    _, trace_id, span_id, _ = replica.seen[-1].headers["traceparent"].split("-")
    span = await until_span(world, name="edge", trace_id=trace_id)
    assert (span.span_id, span.parent_span_id) == (span_id, "00f067aa0ba902b7")
    assert span.attributes.keys() >= {"sluice.replica_id", "gen_ai.request.model"}


async def test_a_span_names_the_front_end_that_answered(world: EdgeWorld) -> None:
    """On unix sockets there is no peer's address to tell."""
    pair = await world.front_ends("r1")
    await world.join_pair(pair)
    await world.until_answers(200, by=pair.rust)

    for number, front_end in ((1, "rust"), (2, "python")):
        answer = await world.http.post("/v1/chat/completions", json={"model": "m", "n": number})
        span = await until_span(world, name="edge", trace_id=answer.headers["x-sluice-trace-id"])
        assert span.attributes["sluice.front_end"] == front_end
        assert span.attributes["network.transport"] == "unix"


async def test_a_change_belongs_to_the_trace_of_the_replica_that_joined(world: EdgeWorld) -> None:
    """One trace from a replica's start to its first request."""
    replica = await world.replica("r1")
    tracer = TracerProvider().get_tracer("test")

    with tracer.start_as_current_span("replica_start") as start:
        await world.join(replica)
    trace_id = f"{start.get_span_context().trace_id:032x}"

    span = await until_span(world, name="reconcile", trace_id=trace_id)
    assert span.parent_span_id == f"{start.get_span_context().span_id:016x}"
    lines = world.log_lines("routing_applied")
    assert trace_id in {line.get("trace_id") for line in lines}


async def test_an_unsampled_request_leaves_no_span(world: EdgeWorld) -> None:
    """The client's decision counts."""
    replica = await world.replica("r1")
    await world.join(replica)
    await world.until_answers(200)
    unsampled = "00-11111111111111111111111111111111-2222222222222222-00"

    await world.http.post(
        "/v1/chat/completions", json={"model": "m"}, headers={"traceparent": unsampled}
    )
    await world.ask()
    _, later, _, flags = replica.seen[-1].headers["traceparent"].split("-")
    await until_span(world, name="edge", trace_id=later)

    written = {span.trace_id for span in read_spans(world.folder / "traces")}
    assert flags == "01"
    assert "1" * 32 not in written
