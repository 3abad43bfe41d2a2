"""W3C trace context to and from headers; the only place that knows the header names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from opentelemetry.context import Context
from opentelemetry.trace import SpanContext
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

TRACE_HEADERS: Final = ("traceparent", "tracestate")

_PROPAGATOR: Final = TraceContextTextMapPropagator()


def inject(context: Context | None = None) -> dict[str, str]:
    """Return the headers of a context, the current one by default; none outside any span.

    Source: W3C Trace Context, section 3.2 (traceparent) and 3.3 (tracestate).
    """
    headers: dict[str, str] = {}
    _PROPAGATOR.inject(headers, context=context)
    return headers


def extract(headers: Mapping[str, str]) -> Context:
    """Return the context that headers carry: an empty one where they carry none or a bad one."""
    return _PROPAGATOR.extract(dict(headers), context=Context())


def only_trace_headers(headers: Mapping[str, str] | None) -> dict[str, str]:
    """Pick the trace context out of a message's headers."""
    return {name: headers[name] for name in TRACE_HEADERS if headers and name in headers}


def request_id_of(span: SpanContext) -> str | None:
    """Return the `X-Request-Id` under which vLLM's engine core knows a span; None if not sampled.

    vLLM makes its own id of a request from that header, and the engine core's plugin reads the
    trace context from there, for one of vLLM's front ends passes on no trace headers.
    """
    if not span.is_valid or not span.trace_flags.sampled:
        return None
    return f"{span.trace_id:032x}-{span.span_id:016x}-01"
