"""One server span around one request, with OpenTelemetry's GenAI attributes."""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, MutableMapping
from types import TracebackType
from typing import Any, Final, Self

from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer

from libs.telemetry.context import TRACE_HEADERS, extract, request_id_of
from services.replica.adapters.http.paths import operation_of

SPAN_NAME: Final = "replica"
PROVIDER: Final = "vllm"
SERVER_ERROR: Final = 500

REQUEST_ID_HEADER: Final = b"x-request-id"
"""vLLM makes the engine's request id of it."""

_TENANT_SALT: Final = re.compile(rb"-t[0-9a-f]{32}$")
"""As the edge writes it, and `sluice_vllm_plugin.tenant_salt` reads it."""

_TRACE_HEADERS: Final = tuple(name.encode() for name in TRACE_HEADERS)
_REPLACED: Final = (*_TRACE_HEADERS, REQUEST_ID_HEADER)

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]


class RequestSpan:
    """A span that follows a request from its headers to the end of its answer."""

    def __init__(self, tracer: Tracer, scope: Scope, *, model: str | None) -> None:
        """Continue the caller's trace, or begin one where the sampler wants it."""
        self._began_s = time.perf_counter()
        self._span = self._begin(tracer, scope, model)
        self._has_first_byte = False

    def __enter__(self) -> Self:
        """Follow the request."""
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        """End the span; an error that left the application is recorded."""
        if isinstance(error, Exception):
            self._span.record_exception(error)
            self._span.set_status(StatusCode.ERROR)
        self._span.end()

    def passed_on(self, scope: Scope) -> Scope:
        """Return the scope with this span as the parent of what comes after.

        The engine core reads the trace from the request's id, not from trace headers.
        """
        own_id = request_id_of(self._span.get_span_context())
        if own_id is None or not self._span.is_recording():
            return scope
        own = [(REQUEST_ID_HEADER, own_id.encode() + _salt_in(scope))]
        kept = [pair for pair in scope["headers"] if pair[0] not in _REPLACED]
        return {**scope, "headers": [*kept, *own]}

    def watching(self, send: Send) -> Send:
        """Return a `send` that notes status and first byte; the very same one when unsampled."""
        if not self._span.is_recording():
            return send

        async def watch(message: Message) -> None:
            if not self._has_first_byte:
                self._note(message)
            await send(message)

        return watch

    def _note(self, message: Message) -> None:
        match message["type"]:
            case "http.response.start":
                _note_status(self._span, message["status"])
            case "http.response.body" if message.get("body"):
                self._has_first_byte = True
                waited_s = time.perf_counter() - self._began_s
                self._span.set_attribute("gen_ai.response.time_to_first_chunk", waited_s)

    @staticmethod
    def _begin(tracer: Tracer, scope: Scope, model: str | None) -> Span:
        headers = {k: v.decode("latin-1") for k, v in _trace_headers(scope).items()}
        span = tracer.start_span(SPAN_NAME, context=extract(headers), kind=SpanKind.SERVER)
        if span.is_recording():
            span.set_attributes(
                {
                    "http.request.method": scope["method"],
                    "url.path": scope["path"],
                    "gen_ai.provider.name": PROVIDER,
                    "gen_ai.operation.name": operation_of(scope["path"]),
                }
            )
            if model:
                span.set_attribute("gen_ai.request.model", model)
        return span


def _salt_in(scope: Scope) -> bytes:
    """Return the end of the caller's request id that keeps tenants' prefix caches apart."""
    for name, value in scope["headers"]:
        if name == REQUEST_ID_HEADER and (salt := _TENANT_SALT.search(value)):
            found: bytes = salt[0]
            return found
    return b""


def _trace_headers(scope: Scope) -> dict[str, bytes]:
    return {key.decode(): value for key, value in scope["headers"] if key in _TRACE_HEADERS}


def _note_status(span: Span, status: int) -> None:
    span.set_attribute("http.response.status_code", status)
    if status >= SERVER_ERROR:
        span.set_status(StatusCode.ERROR)
