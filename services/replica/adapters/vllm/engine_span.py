"""The engine's span of one request: vLLM's own times under today's GenAI names, by our tracer.

vLLM makes such a span itself, with older attribute names and through a tracer provider of its own.
Its output handler calls `do_tracing` once per finished request; `install` puts ours in its place.
"""

from __future__ import annotations

import time
from typing import Final

from opentelemetry.trace import SpanKind, Tracer
from vllm.v1.engine import EngineCoreOutput
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.engine.output_processor import RequestState
from vllm.v1.metrics.stats import IterationStats

from libs.telemetry.context import extract

SPAN_NAME: Final = "engine"

_IN_PROCESS: Final = "in-process"
"""Any endpoint makes vLLM keep a request's trace headers; nothing is sent there."""

Attributes = dict[str, str | int | float]


def install(engine: AsyncLLM, tracer: Tracer, *, model: str) -> None:
    """Have the engine's requests traced by `tracer`; they must carry a `traceparent`."""
    engine.observability_config.otlp_traces_endpoint = _IN_PROCESS
    engine.output_processor.do_tracing = EngineSpans(tracer, model).record
    engine.output_processor.tracing_enabled = True


class EngineSpans:
    """Makes one span of what vLLM knows about a finished request."""

    def __init__(self, tracer: Tracer, model: str) -> None:
        """Trace requests to `model`."""
        self._tracer = tracer
        self._model = model

    def record(
        self, output: EngineCoreOutput, request: RequestState, _step: IterationStats | None
    ) -> None:
        """Make the span; only where the request's trace is sampled."""
        if not output.trace_headers:
            return
        span = self._tracer.start_span(
            SPAN_NAME,
            context=extract(output.trace_headers),
            kind=SpanKind.INTERNAL,
            start_time=int(request.stats.arrival_time * 1e9),
        )
        if span.is_recording():
            span.set_attributes(self._attributes(request))
        span.end(time.time_ns())

    def _attributes(self, request: RequestState) -> Attributes:
        return {
            "gen_ai.provider.name": "vllm",
            "gen_ai.request.model": request.lora_name or self._model,
            "gen_ai.response.id": request.external_req_id,
            "gen_ai.usage.input_tokens": request.prompt_len,
            "gen_ai.usage.output_tokens": request.stats.num_generation_tokens,
            **_latencies(request),
            **_parameters(request),
        }


def _latencies(request: RequestState) -> Attributes:
    """Return the stages in seconds, as the engine core's monotonic clock saw them."""
    stats = request.stats
    return {
        "gen_ai.latency.time_to_first_token": stats.first_token_latency,
        "gen_ai.latency.time_in_queue": stats.scheduled_ts - stats.queued_ts,
        "gen_ai.latency.time_in_model_prefill": stats.first_token_ts - stats.scheduled_ts,
        "gen_ai.latency.time_in_model_decode": stats.last_token_ts - stats.first_token_ts,
    }


def _parameters(request: RequestState) -> Attributes:
    """Return the sampling parameters that the request has."""
    found = {
        "gen_ai.request.max_tokens": request.max_tokens_param,
        "gen_ai.request.temperature": request.temperature,
        "gen_ai.request.top_p": request.top_p,
        "gen_ai.request.choice.count": request.n,
    }
    return {name: value for name, value in found.items() if value is not None}
