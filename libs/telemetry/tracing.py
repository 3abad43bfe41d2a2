"""Sets up this process's traces: where they go, how many are kept, who they are from.

With an OTLP endpoint in the environment spans go there, else into OTLP-JSON lines in a folder, so
that traces can be analysed on a laptop and on a folder copied from elsewhere.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Final

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

from libs.engine.version import SLUICE_VERSION
from libs.errors import UsageError
from libs.telemetry.file_exporter import FileSpanExporter
from libs.telemetry.finished_span import FinishedSpan, FinishedSpanLine, as_readable, is_valid

FLUSH_MS: Final = 500.0
"""A span is written at most this long after its end, and a little more."""

QUEUE_SPANS_MAX: Final = 8_192
BATCH_SPANS_MAX: Final = 512
"""Spans that wait beyond the queue's bound are dropped: serving matters more than tracing."""


class Protocol(StrEnum):
    """The OTLP transports."""

    HTTP = "http/protobuf"
    GRPC = "grpc"


@dataclass(frozen=True, slots=True, kw_only=True)
class OtlpTarget:
    """An OTLP collector."""

    protocol: Protocol
    endpoint: str


class ServiceTracerProvider(TracerProvider):
    """A process's tracer provider, which also takes spans that are already over."""

    def export_to(self, exporter: SpanExporter) -> None:
        """Send spans to an exporter from here on."""
        self._processor = _batching(exporter)
        self._file = exporter if isinstance(exporter, FileSpanExporter) else None
        self.add_span_processor(self._processor)

    def recorder(
        self, scope: str, *, sender: Resource | None = None
    ) -> Callable[[Sequence[FinishedSpan]], None] | None:
        """Return a function that exports finished spans under a scope's name, from any thread.

        `sender` is whose spans they are, if not this process's own.

        With a file it writes them at once, in one line; with a collector it queues them. None
        when spans go nowhere.
        """
        if self._processor is None:
            return None
        resource = sender or self.resource
        if self._file is None:
            return partial(_queue, self._processor, resource, scope)
        return partial(_write, self._file, FinishedSpanLine(resource, scope))

    _processor: BatchSpanProcessor | None = None
    _file: FileSpanExporter | None = None


def configure_tracing(
    service: str,
    traces_dir: Path | None,
    env: Mapping[str, str],
    *,
    instance_id: str | None = None,
    ratio: float = 1.0,
) -> ServiceTracerProvider:
    """Make this process's tracer provider and install it as the global one.

    Spans of a parent that was sampled are kept, those of one that was not are dropped, and of
    the rest `ratio` (0 to 1; the variable OTEL_TRACES_SAMPLER_ARG has the last word) is kept.
    Without a collector and without `traces_dir` spans go nowhere. Call `shutdown` at the end.

    Raises:
        UsageError: a variable holds what it cannot mean.
    """
    provider = ServiceTracerProvider(
        resource=resource(service, instance_id or default_instance_id()),
        sampler=ParentBased(TraceIdRatioBased(sampling_ratio(env, ratio))),
        shutdown_on_exit=True,
    )
    exporter = _exporter(service, traces_dir, env)
    if exporter is not None:
        provider.export_to(exporter)
    trace.set_tracer_provider(provider)
    return provider


def resource(service: str, instance_id: str) -> Resource:
    """Say who the spans are from. Source: OpenTelemetry semantic conventions, "service"."""
    return Resource.create(
        {
            "service.name": service,
            "service.version": SLUICE_VERSION,
            "service.instance.id": instance_id,
        }
    )


def default_instance_id() -> str:
    """Name this process among all others that run now."""
    return f"{socket.gethostname()}-{os.getpid()}"


def sampling_ratio(env: Mapping[str, str], default: float) -> float:
    """Return how many of the traces that begin here are kept, from 0 to 1.

    Raises:
        UsageError: OTEL_TRACES_SAMPLER_ARG is not a number from 0 to 1.
    """
    text = env.get("OTEL_TRACES_SAMPLER_ARG", "")
    if not text:
        return default
    try:
        ratio = float(text)
    except ValueError:
        ratio = -1.0
    if not 0 <= ratio <= 1:
        raise UsageError(f"OTEL_TRACES_SAMPLER_ARG must be a number from 0 to 1, not {text!r}.")
    return ratio


def otlp_target(env: Mapping[str, str]) -> OtlpTarget | None:
    """Read where an OTLP collector is; None when none is named.

    Raises:
        UsageError: the protocol is neither `grpc` nor `http/protobuf`.

    Source: OpenTelemetry specification, "OpenTelemetry Protocol Exporter".
    """
    own = env.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "")
    shared = env.get("OTEL_EXPORTER_OTLP_ENDPOINT", "")
    if not own and not shared:
        return None
    protocol = _protocol(env)
    if protocol is Protocol.HTTP and not own:
        return OtlpTarget(protocol=protocol, endpoint=shared.rstrip("/") + "/v1/traces")
    return OtlpTarget(protocol=protocol, endpoint=own or shared)


def _protocol(env: Mapping[str, str]) -> Protocol:
    named = env.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or env.get("OTEL_EXPORTER_OTLP_PROTOCOL")
    try:
        return Protocol(named or Protocol.HTTP)
    except ValueError as exc:
        raise UsageError(f"OTLP protocol {named!r} must be grpc or http/protobuf.") from exc


def _exporter(service: str, traces_dir: Path | None, env: Mapping[str, str]) -> SpanExporter | None:
    target = otlp_target(env)
    if target is not None:
        return _otlp_exporter(target)
    if traces_dir is not None:
        return FileSpanExporter(traces_dir, service)
    return None


def _otlp_exporter(target: OtlpTarget) -> SpanExporter:
    # Imported where needed: the gRPC exporter alone costs a tenth of a second at every start.
    if target.protocol is Protocol.GRPC:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (  # noqa: PLC0415
            OTLPSpanExporter as GrpcExporter,
        )

        return GrpcExporter(endpoint=target.endpoint)
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
        OTLPSpanExporter as HttpExporter,
    )

    return HttpExporter(endpoint=target.endpoint)


def _write(file: FileSpanExporter, line: FinishedSpanLine, spans: Sequence[FinishedSpan]) -> None:
    file.write(line.render(spans))


def _queue(
    processor: BatchSpanProcessor, resource: Resource, scope: str, spans: Sequence[FinishedSpan]
) -> None:
    for span in spans:
        if is_valid(span):
            processor.on_end(as_readable(span, resource, scope))


def _batching(exporter: SpanExporter) -> BatchSpanProcessor:
    return BatchSpanProcessor(
        exporter,
        max_queue_size=QUEUE_SPANS_MAX,
        schedule_delay_millis=FLUSH_MS,
        max_export_batch_size=BATCH_SPANS_MAX,
    )
