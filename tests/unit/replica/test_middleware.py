"""What the replica adds around vLLM's application, with a tiny application in vLLM's place."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased
from opentelemetry.trace import NoOpTracer, SpanKind, StatusCode

from libs.testing.asgi import EchoApp, Message, Receive, Scope, Send, call
from services.replica.adapters.http import middleware
from services.replica.adapters.http.door import HttpDoor
from services.replica.adapters.http.middleware import ReplicaMiddleware

COMPLETIONS = "/v1/completions"
TRANSCRIPTIONS = "/v1/audio/transcriptions"
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
UNSAMPLED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"


class Subject:
    """A middleware with its surroundings."""

    def __init__(self, app: EchoApp | None = None) -> None:
        """Wrap a fresh application."""
        self.app = app or EchoApp()
        self.door = HttpDoor()
        self.exporter = InMemorySpanExporter()
        provider = TracerProvider(sampler=ParentBased(ALWAYS_ON), shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        tracer = provider.get_tracer("test")
        self.middleware = ReplicaMiddleware(self.app, door=self.door, tracer=tracer)


async def test_a_request_passes_unchanged() -> None:
    """Body and answer go through."""
    subject = Subject()

    answer = await call(subject.middleware, COMPLETIONS, body=b'{"model": "a"}')

    assert (answer.status, answer.body) == (200, b'{"model": "a"}end')


async def test_a_body_that_was_checked_reaches_the_application_whole() -> None:
    """Reading the body for its model takes nothing away."""
    subject = Subject()
    body = json.dumps({"model": "a", "prompt": "x" * 5_000}).encode()

    await call(subject.middleware, COMPLETIONS, body=body, headers={"x-sluice-model": "a"})

    assert subject.app.bodies == [body]


async def test_a_body_without_a_model_gets_the_one_that_the_router_read() -> None:
    """A header may name an adapter, and vLLM would take the base model instead."""
    subject = Subject()
    body = b'{"prompt": "x"}'
    headers = {"x-sluice-model": "sql", "content-length": str(len(body))}

    await call(subject.middleware, COMPLETIONS, body=body, headers=headers)

    (seen,) = subject.app.bodies
    assert json.loads(seen) == {"model": "sql", "prompt": "x"}
    assert subject.app.header("content-length") == str(len(seen))


async def test_the_door_knows_for_which_name_a_request_is_inside() -> None:
    """An adapter leaves the engine once its own requests and those of unknown models have left."""
    gate = asyncio.Event()
    subject = Subject(EchoApp(gate=gate))
    request = asyncio.create_task(
        call(subject.middleware, COMPLETIONS, headers={"x-sluice-model": "sql"})
    )
    await asyncio.sleep(0)

    inside, others = subject.door.inside("sql"), subject.door.inside("law")
    had_left = subject.door.have_left(inside)
    gate.set()
    await request

    assert (len(inside), others, had_left) == (1, frozenset(), False)
    assert subject.door.have_left(inside)


async def test_a_request_that_names_no_model_may_be_for_any() -> None:
    """Who asks a replica directly sends no header."""
    door = HttpDoor()

    with door.entered():
        assert len(door.inside("sql")) == 1


@pytest.mark.parametrize(
    "body", [b'{"model": "b"}', b'{"model": "a", "model": "a"}', b'{"model": 1}']
)
async def test_a_body_that_names_another_model_is_refused(body: bytes) -> None:
    """The application never sees it; the answer has OpenAI's shape."""
    subject = Subject()

    answer = await call(subject.middleware, COMPLETIONS, body=body, headers={"x-sluice-model": "a"})

    assert answer.status == 400
    assert json.loads(answer.body)["error"]["type"] == "invalid_request_error"
    assert subject.app.scopes == []


async def test_a_body_over_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory for bodies is bounded."""
    monkeypatch.setattr(middleware, "BODY_BYTES_MAX", 100)
    subject = Subject()

    answer = await call(
        subject.middleware, COMPLETIONS, body=b"x" * 300, headers={"x-sluice-model": "a"}
    )

    assert answer.status == 413
    assert subject.app.scopes == []


async def test_a_closed_path_is_not_found() -> None:
    """Administrative paths end here."""
    subject = Subject()

    answer = await call(subject.middleware, "/v1/load_lora_adapter")

    assert answer.status == 404
    assert subject.app.scopes == []


async def test_a_leaving_replica_fails_its_health_check_but_still_answers() -> None:
    """The router learns first; requests already on their way are served."""
    subject = Subject()
    subject.door.leave()

    health = await call(subject.middleware, "/health")
    answer = await call(subject.middleware, COMPLETIONS)

    assert (health.status, answer.status) == (503, 200)


async def test_a_closed_door_refuses_with_retry_after_and_keeps_what_runs() -> None:
    """New requests are refused, the running one ends whole."""
    gate = asyncio.Event()
    subject = Subject(EchoApp(gate=gate))
    running = asyncio.create_task(call(subject.middleware, COMPLETIONS, body=b"x"))
    await asyncio.sleep(0)

    subject.door.close()
    refused = await call(subject.middleware, COMPLETIONS)
    before = subject.door.in_flight
    gate.set()
    kept = await running

    assert (refused.status, refused.headers["retry-after"]) == (503, "1")
    assert json.loads(refused.body)["error"]["code"] == 503
    assert (before, kept.body) == (1, b"xend")
    assert await subject.door.emptied(timeout_s=0.1)


async def test_a_request_that_breaks_is_no_longer_counted() -> None:
    """An error inside does not hold up the drain."""
    subject = Subject(EchoApp(error=RuntimeError("broken")))

    with pytest.raises(RuntimeError):
        await call(subject.middleware, COMPLETIONS)

    assert subject.door.in_flight == 0
    (span,) = subject.exporter.get_finished_spans()
    assert span.status.status_code is StatusCode.ERROR


async def test_emptied_gives_up_at_its_time_limit() -> None:
    """A drain has a deadline."""
    door = HttpDoor()

    with door.entered():
        assert not await door.emptied(timeout_s=0.01)


async def test_the_span_continues_the_callers_trace_and_is_passed_on() -> None:
    """The application's parent is this span, not the caller's."""
    subject = Subject()
    headers = {"traceparent": PARENT, "x-sluice-model": "a"}

    await call(subject.middleware, COMPLETIONS, body=b'{"model": "a"}', headers=headers)

    (span,) = subject.exporter.get_finished_spans()
    assert span.context is not None
    assert span.parent is not None
    assert f"{span.parent.span_id:016x}" == "b7ad6b7169203331"
    passed_on = f"{span.context.trace_id:032x}-{span.context.span_id:016x}-01"
    assert subject.app.header("x-request-id") == passed_on
    assert span.kind is SpanKind.SERVER


async def test_the_span_says_what_was_asked_and_when_the_answer_began() -> None:
    """Attributes follow the GenAI conventions."""
    subject = Subject()

    await call(
        subject.middleware, COMPLETIONS, body=b'{"model": "a"}', headers={"x-sluice-model": "a"}
    )

    (span,) = subject.exporter.get_finished_spans()
    attributes = dict(span.attributes or {})
    first_s = attributes.pop("gen_ai.response.time_to_first_chunk")
    assert isinstance(first_s, float)
    assert attributes == {
        "http.request.method": "POST",
        "url.path": COMPLETIONS,
        "http.response.status_code": 200,
        "gen_ai.provider.name": "vllm",
        "gen_ai.operation.name": "text_completion",
        "gen_ai.request.model": "a",
    }


async def test_an_unsampled_request_keeps_its_decision() -> None:
    """What the edge does not trace leaves no span, here or below."""
    subject = Subject()

    await call(subject.middleware, COMPLETIONS, headers={"traceparent": UNSAMPLED})

    passed_on = subject.app.header("traceparent")
    assert passed_on is not None
    assert passed_on.endswith("-00")
    assert subject.exporter.get_finished_spans() == ()


@pytest.mark.parametrize("value", ["", "garbage", "00-0-0-01", "ff" * 40])
async def test_a_broken_traceparent_begins_a_new_trace(value: str) -> None:
    """Clients cannot break tracing."""
    subject = Subject()

    answer = await call(subject.middleware, COMPLETIONS, headers={"traceparent": value})

    (span,) = subject.exporter.get_finished_spans()
    assert answer.status == 200
    assert span.parent is None


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"model": "a", "n": 129}', "the limit is 128"),
        (b'{"model": "a", "messages": [' + b"{}," * 10_000 + b"{}]}", "more than 8192 objects"),
    ],
)
@pytest.mark.parametrize("headers", [{"x-sluice-model": "a"}, {}])
async def test_more_work_than_one_request_may_ask_for_is_refused(
    body: bytes, said: str, headers: dict[str, str]
) -> None:
    """The application never parses it; the answer names the limit in OpenAI's shape."""
    subject = Subject()

    answer = await call(subject.middleware, COMPLETIONS, body=body, headers=headers)

    assert answer.status == 400
    assert said in json.loads(answer.body)["error"]["message"]
    assert subject.app.scopes == []


async def test_an_answer_begins_with_its_first_bytes() -> None:
    """Status and headers alone would keep a request that waits here from another replica."""
    begins, sent = asyncio.Event(), list[str]()

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await begins.wait()
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        await send({"type": "http.response.body", "body": b"b", "more_body": False})

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message["type"])

    layer = ReplicaMiddleware(app, door=HttpDoor(), tracer=NoOpTracer())
    scope: Scope = {"type": "http", "method": "POST", "path": COMPLETIONS, "headers": []}
    asked = asyncio.create_task(layer(scope, receive, send))
    await asyncio.sleep(0.01)
    before = list(sent)
    begins.set()
    await asked

    assert before == []
    assert sent == ["http.response.start", "http.response.body", "http.response.body"]


async def test_a_form_with_a_file_is_not_counted_as_json() -> None:
    """A recording holds every byte."""
    subject = Subject()
    body, headers = b"{" * 100_000, {"content-type": "multipart/form-data; boundary=x"}

    answer = await call(subject.middleware, TRANSCRIPTIONS, body=body, headers=headers)

    assert answer.status == 200
    assert subject.app.bodies == [body]


@dataclass(slots=True)
class Program:
    """A Rust program that answers or not."""

    healthy: bool = True
    asked: int = 0

    async def answers(self) -> bool:
        """Tell what it was told to."""
        self.asked += 1
        return self.healthy


@pytest.mark.parametrize(
    ("front_end", "healthy", "status", "asked"),
    [("rust", True, 200, 1), ("rust", False, 503, 1), ("python", False, 200, 0)],
)
async def test_a_health_check_about_the_rust_program_asks_it(
    *, front_end: str, healthy: bool, status: int, asked: int
) -> None:
    """Only such a one: the others are about this application alone."""
    program = Program(healthy=healthy)
    subject = Subject()
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("test")
    layer = ReplicaMiddleware(subject.app, door=subject.door, tracer=tracer, rust=program)

    answer = await call(layer, "/health", headers={"x-sluice-front-end": front_end})

    assert (answer.status, program.asked) == (status, asked)


async def test_a_replica_without_a_rust_program_answers_for_itself() -> None:
    """Its server in the main pool leads to this application."""
    subject = Subject()

    answer = await call(subject.middleware, "/health", headers={"x-sluice-front-end": "rust"})

    assert answer.status == 200
