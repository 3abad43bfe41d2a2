"""One replica with a real model under Ray Serve, from its first lease to its last.

The tests share one replica and run in order: those that end it come last.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path

import httpx
import openai
import pytest
from openai.types.chat import ChatCompletionUserMessageParam

from libs.bus.codec import encode
from libs.contracts.events import ReplicaFailed, ReplicaJoined, ReplicaLeft
from libs.contracts.ids import ModelName
from libs.contracts.lease import FrontEnd, ReplicaLease, ReplicaState
from libs.contracts.model_spec import ModelSpec
from libs.contracts.reports import LoadReport
from libs.contracts.subjects import LOAD_SUBJECTS
from libs.engine.engine_folder import SHARED_MEMORY
from libs.telemetry.otlp_json import Span, read_spans
from libs.testing.eventually import eventually
from libs.testing.ray_node import marked
from libs.testing.replica_world import MODEL, ReplicaWorld, is_ready

pytestmark = pytest.mark.asyncio(loop_scope="module")

QUESTION = ChatCompletionUserMessageParam(role="user", content="What is the capital of France?")
LONG = {"model": MODEL, "prompt": "Once", "max_tokens": 120, "ignore_eos": True, "stream": True}
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
PARENT_ID = "b7ad6b7169203331"
SPANS = {"replica", "engine", "queue", "prefill", "decode"}
LEASE_EXPIRES_S = 5.0


async def test_the_lease_says_ready_and_which_executor_runs(world: ReplicaWorld) -> None:
    """A router learns all that it needs from the lease."""
    lease = world.lease()

    assert lease is not None
    assert lease.state is ReplicaState.READY
    assert (lease.executor, lease.device) == ("RayExecutorV2", "cpu")
    assert lease.max_num_seqs == 16
    assert lease.versions.vllm.startswith("0.32")


async def test_a_greedy_answer_streams_and_names_paris(world: ReplicaWorld) -> None:
    """float32 on CPU gives the right text, through the official client, chunk by chunk."""
    async with openai.AsyncOpenAI(base_url=f"{world.url()}/v1", api_key="none") as client:
        stream = await client.chat.completions.create(
            model="default", messages=[QUESTION], temperature=0, stream=True
        )
        parts = [each.choices[0].delta.content async for each in stream if each.choices]

    assert "Paris" in "".join(part or "" for part in parts)
    assert len(parts) > 5


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b'{"model": ', "invalid JSON"),
        (b'{"model": "smollm2", "messages": 5}', "wrong type"),
        (b'{"model": "smollm2", "messages": [], "temperature": "hot"}', "wrong type"),
    ],
)
async def test_a_broken_body_is_refused_with_400(
    world: ReplicaWorld, body: bytes, why: str
) -> None:
    """The replica answers bad input itself, in OpenAI's error shape."""
    async with httpx.AsyncClient() as client:
        answer = await client.post(
            f"{world.url()}/v1/chat/completions",
            content=body,
            headers={"content-type": "application/json"},
        )

    assert answer.status_code == 400, why
    assert answer.json()["error"]["message"]


async def test_a_body_that_names_another_model_than_the_router_read_is_refused(
    world: ReplicaWorld,
) -> None:
    """Two JSON parsers that differ must not let a request through."""
    body = b'{"model": "cheap", "model": "smollm2", "prompt": "x", "max_tokens": 1}'
    headers = {"content-type": "application/json", "x-sluice-model": "cheap"}

    async with httpx.AsyncClient() as client:
        url = f"{world.url(FrontEnd.PYTHON)}/v1/completions"
        answer = await client.post(url, content=body, headers=headers)

    assert answer.status_code == 400
    assert "two models" in answer.json()["error"]["message"]


async def test_the_open_endpoints_answer_and_name_the_replica(world: ReplicaWorld) -> None:
    """What clients of OpenAI's API use is there."""
    lease = world.lease()
    assert lease is not None

    url = world.url(FrontEnd.PYTHON)
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        models = await client.get("/v1/models")
        tokens = await client.post("/tokenize", json={"model": MODEL, "prompt": "Hello"})
        text = await client.post(
            "/detokenize", json={"model": MODEL, "tokens": tokens.json()["tokens"]}
        )
        response = await client.post(
            "/v1/responses", json={"model": MODEL, "input": "Hi", "max_output_tokens": 2}
        )
        health = await client.get("/health")
        metrics = await client.get("/metrics")

    assert "vllm:time_to_first_token_seconds_bucket{" in metrics.text
    assert {each["id"] for each in models.json()["data"]} == {MODEL, "default"}
    assert "Hello" in text.json()["prompt"]
    assert (response.status_code, health.status_code) == (200, 200)
    assert health.headers["x-sluice-replica"] == f"{lease.replica_id}.{lease.incarnation}"


@pytest.mark.parametrize(
    "path", ["/v1/load_lora_adapter", "/scale_elastic_ep", "/invocations", "/openapi.json", "/docs"]
)
async def test_administrative_paths_are_closed(world: ReplicaWorld, path: str) -> None:
    """The Python front end has them; the edge closes them for both."""
    async with httpx.AsyncClient(base_url=world.url(FrontEnd.PYTHON)) as client:
        answers = [await client.get(path), await client.post(path, json={})]

    assert [answer.status_code for answer in answers] == [404, 404]


async def test_the_load_report_follows_a_running_request(world: ReplicaWorld) -> None:
    """Reports count a running request, its tokens and its first token; then nothing runs."""
    reports: list[LoadReport] = []

    async with asyncio.timeout(60), world.bus.reports(LOAD_SUBJECTS) as incoming:
        stream = asyncio.create_task(_stream_length(world))
        async for received in incoming:
            assert isinstance(received.value, LoadReport)
            reports.append(received.value)
            if stream.done() and received.value.running == 0:
                break

    busy = [report for report in reports if report.running == 1]
    assert busy
    assert any((report.tokens_per_s or 0) > 0 for report in busy)
    assert any(report.ttft_p50_s for report in busy)
    assert reports[-1].waiting == 0


@pytest.mark.parametrize("front_end", FrontEnd)
async def test_one_trace_joins_the_replicas_span_and_the_engines(
    world: ReplicaWorld, front_end: FrontEnd
) -> None:
    """The spans form one tree below the edge's, with today's attribute names."""
    trace_id = {FrontEnd.RUST: TRACE_ID, FrontEnd.PYTHON: TRACE_ID[::-1]}[front_end]

    await _complete(world, front_end, trace_id)

    spans = await _until_traced(world, trace_id)
    assert set(spans) == SPANS
    assert {spans[name].parent_span_id for name in ("queue", "prefill", "decode")} == {
        spans["engine"].span_id
    }
    assert spans["replica"].parent_span_id == PARENT_ID
    assert spans["engine"].parent_span_id == spans["replica"].span_id
    assert spans["engine"].attributes["gen_ai.usage.output_tokens"] == 3
    assert _number(spans["engine"], "gen_ai.latency.time_in_model_prefill") > 0
    assert spans["replica"].attributes["gen_ai.operation.name"] == "text_completion"
    assert _number(spans["replica"], "gen_ai.response.time_to_first_chunk") > 0


@pytest.mark.parametrize("front_end", FrontEnd)
async def test_a_request_that_is_not_sampled_leaves_no_span(
    world: ReplicaWorld, front_end: FrontEnd
) -> None:
    """The edge decides what is traced; the next request's spans would come after this one's."""
    digit = {FrontEnd.RUST: "1", FrontEnd.PYTHON: "2"}[front_end]
    left_out, traced = digit * 32, digit * 31 + "f"

    await _complete(world, front_end, left_out, sampled=False)
    await _complete(world, front_end, traced)
    await _until_traced(world, traced)

    assert _spans(world, left_out) == []


async def test_requests_go_on_while_nats_is_dead_and_the_lease_returns_with_it(
    world: ReplicaWorld,
) -> None:
    """A broker that lost everything gets the lease again within its refresh time."""
    before = world.lease()
    assert before is not None
    await world.nats.kill()

    async with httpx.AsyncClient(base_url=world.url(), timeout=60) as client:
        body = {"model": MODEL, "prompt": "Hello", "max_tokens": 1}
        answer = await client.post("/v1/completions", json=body)
    await world.nats.start()
    await asyncio.sleep(LEASE_EXPIRES_S)  # what was written before is gone by then
    await world.until(is_ready, 60)

    after = world.lease()
    assert answer.status_code == 200
    assert after is not None
    assert (after.incarnation, after.state) == (before.incarnation, ReplicaState.READY)


async def test_a_killed_replica_leaves_nothing_behind_and_comes_back(world: ReplicaWorld) -> None:
    """Serve starts another one; the engine core and its worker of the first end by themselves."""
    first = world.lease()
    assert first is not None
    engine_before = set(_engine_pids(world))
    segments = [note.name.split(".")[0] for note in _folder(world, first).glob("*.shm")]

    os.kill(first.pid, signal.SIGKILL)
    await world.until(
        lambda lease: is_ready(lease) and lease is not None and lease.pid != first.pid, 180
    )

    assert not engine_before & set(_engine_pids(world))
    assert segments
    assert not any((SHARED_MEMORY / name).exists() for name in segments)
    assert not _folder(world, first).exists()


async def test_a_dead_worker_fails_the_replica_which_serve_replaces(world: ReplicaWorld) -> None:
    """The lease and a fact say why; another replica comes by itself."""
    first = world.lease()
    assert first is not None
    (worker,) = [pid for pid in _engine_pids(world) if "RayWorkerProc" in _title(pid)]

    os.kill(worker, signal.SIGKILL)
    await world.until(lambda lease: lease is not None and lease.state is ReplicaState.FAILED, 60)
    failed = world.lease()
    await world.until(
        lambda lease: is_ready(lease) and lease is not None and lease.pid != first.pid, 180
    )

    assert failed is not None
    assert "engine died" in failed.reason
    facts = [stored.value async for stored in world.bus.facts()]
    assert [fact.cause for fact in facts if isinstance(fact, ReplicaFailed)] == [failed.reason]


async def test_a_replica_that_leaves_finishes_its_stream_first(world: ReplicaWorld) -> None:
    """Scaled to nothing: the running stream arrives whole, the lease goes, the fact is told.

    Its files go with it.
    """

    async def is_gone() -> bool:
        return not folder.exists()

    seen: list[ReplicaState] = []
    first = world.lease()
    assert first is not None
    folder = _folder(world, first)
    assert folder.is_dir()
    begun = asyncio.Event()
    stream = asyncio.create_task(_stream_length(world, begun))
    await asyncio.wait_for(begun.wait(), 60)

    await asyncio.to_thread(world.ray.scale, MODEL, "replica", 0)
    async with asyncio.timeout(60):
        while (lease := world.lease()) is not None:
            if not seen or seen[-1] is not lease.state:
                seen.append(lease.state)
            await world.leases.changed(timeout_s=0.5)

    assert await stream == 120
    assert seen[-2:] == [ReplicaState.DRAINING, ReplicaState.STOPPED]
    facts = [stored.value async for stored in world.bus.facts()]
    assert isinstance(facts[-1], ReplicaLeft)
    assert facts[-1].unfinished == 0
    assert [fact for fact in facts if isinstance(fact, ReplicaJoined)]
    await eventually(is_gone, within_s=10, what="the end of its folder")


async def test_a_model_that_is_not_there_fails_its_application_in_one_line(
    world: ReplicaWorld,
) -> None:
    """Neither the user nor Serve waits for an engine that cannot come up."""
    spec = ModelSpec(name=ModelName("missing"), source="/no/such/model")
    args = {"model_spec": encode(spec).decode()}
    await asyncio.to_thread(
        world.ray.put_application, "missing", "services.replica.serve_app:build", args
    )

    await _until_deploy_failed(world, "missing")

    deployments = world.ray.application("missing")["deployments"]
    assert "The model directory /no/such/model does not exist" in str(deployments)


async def _until_deploy_failed(world: ReplicaWorld, application: str) -> None:
    async def failed() -> bool:
        found = await asyncio.to_thread(world.ray.application, application)
        return found.get("status") == "DEPLOY_FAILED"

    await eventually(failed, within_s=180, what="a failed application")


async def _complete(
    world: ReplicaWorld, front_end: FrontEnd, trace_id: str, *, sampled: bool = True
) -> None:
    """Complete a prompt with three tokens in a trace, as the edge would ask."""
    headers = {
        "traceparent": f"00-{trace_id}-{PARENT_ID}-{'01' if sampled else '00'}",
        "x-request-id": f"{trace_id}-{PARENT_ID}-01" if sampled else "64f-2a",
        "x-sluice-model": MODEL,
    }
    body = {"model": MODEL, "prompt": "Hello", "max_tokens": 3, "ignore_eos": True}
    async with httpx.AsyncClient(base_url=world.url(front_end), timeout=60) as client:
        answer = await client.post("/v1/completions", json=body, headers=headers)
    assert answer.status_code == 200, answer.text


async def _until_traced(world: ReplicaWorld, trace_id: str) -> dict[str, Span]:
    """Wait for the spans of a trace, and return them by name."""

    async def written() -> bool:
        return {span.name for span in _spans(world, trace_id)} >= SPANS

    await eventually(written, within_s=30, what="the trace's spans")
    return {span.name: span for span in _spans(world, trace_id)}


def _number(span: Span, attribute: str) -> float:
    """Return an attribute that is a number."""
    value = span.attributes[attribute]
    assert isinstance(value, float)
    return value


async def _stream_length(world: ReplicaWorld, begun: asyncio.Event | None = None) -> int:
    """Stream a completion of 120 tokens and count its pieces of text; tell the first one."""
    count = 0
    async with (
        httpx.AsyncClient(base_url=world.url(), timeout=120) as client,
        client.stream("POST", "/v1/completions", json=LONG) as answer,
    ):
        async for line in answer.aiter_lines():
            if line.startswith("data: {"):
                count += sum(bool(each["text"]) for each in json.loads(line[6:])["choices"])
                if begun is not None and count:
                    begun.set()
    return count


def _spans(world: ReplicaWorld, trace_id: str) -> list[Span]:
    """Read the replica's spans of one trace."""
    return [span for span in read_spans(world.traces) if span.trace_id == trace_id]


def _folder(world: ReplicaWorld, lease: ReplicaLease) -> Path:
    """Return where a replica has its files."""
    return world.ray.folder / f"sluice-{lease.incarnation}"


def _engine_pids(world: ReplicaWorld) -> list[int]:
    """List the engine cores and workers of the node."""
    titles = ("VLLM::", "ray::RayWorkerProc")
    return [pid for pid in marked(world.ray.mark) if _title(pid).startswith(titles)]


def _title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""
