"""Gives finished spans to the process's own exporters."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from opentelemetry.sdk.trace import TracerProvider

from libs.telemetry.finished_span import FinishedSpan
from libs.telemetry.tracing import ServiceTracerProvider
from services.router_config.adapters.spans.codec import SCOPE, EdgeIdentity

SpanSink = Callable[[Sequence[FinishedSpan]], None]


def span_sink(provider: TracerProvider, identity: EdgeIdentity) -> SpanSink | None:
    """Return what exports the edge's spans; None where spans go nowhere."""
    if not isinstance(provider, ServiceTracerProvider):
        return None
    return provider.recorder(SCOPE, sender=identity.resource())
