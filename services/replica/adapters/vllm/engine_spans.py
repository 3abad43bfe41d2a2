"""The spans of a request, out of what the engine core says of it. Pure.

    replica     from its arrival at the front end to its end; only for the Rust front end, which
                exports no traces: the Python one makes this span itself
      engine    from its arrival at the scheduler to its end
        queue   until the scheduler first runs it
        prefill until its first token
        decode  until its end

A stage that never began has no span: a request that is aborted in the queue has neither prefill
nor decode. Source of the attribute names: OpenTelemetry GenAI conventions; `gen_ai.latency.*` are
vLLM's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from opentelemetry.trace import SpanKind

from libs.contracts.lease import FrontEnd
from libs.telemetry.finished_span import Attribute, FinishedSpan
from services.replica.adapters.vllm.report_codec import EngineRequest

ARRIVAL_BEFORE_QUEUE_MAX_S: Final = 600.0
"""A front end whose clock says more than this, or a time in the future, is not believed."""

_ID: Final = re.compile(
    r"(?:\d+_)?(?P<response>(?P<kind>[a-z]+)-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-01)\b"
)
_OPERATIONS: Final = {"chatcmpl": "chat", "cmpl": "text_completion", "embd": "embeddings"}
REASONS: Final = {
    "FINISHED_STOPPED": "stop",
    "FINISHED_LENGTH_CAPPED": "length",
    "FINISHED_IGNORED": "length",
    "FINISHED_REPETITION": "repetition",
    "FINISHED_ABORTED": "abort",
    "FINISHED_ERROR": "error",
}
"""Every status that ends a request, as a finish reason."""

_ABORTED: Final = "FINISHED_ABORTED"
_ERRORS: Final = {_ABORTED: "aborted", "FINISHED_ERROR": "engine_error"}
_NS_PER_S: Final = 1e9

_Attributes: TypeAlias = dict[str, Attribute]


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """What an engine's requests have in common.

    Attributes:
        model: the name that it serves its model under; a request for an adapter names that.
        front_ends: which front end has which client number.
    """

    model: str
    front_ends: Mapping[int, FrontEnd]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ids:
    """What a request's id says; `caller` is the span that it was sent from."""

    operation: str
    response: str
    trace: str
    caller: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """A span before it has ids; times are of the engine core's clock, in seconds."""

    name: str
    begin_s: float
    end_s: float
    attributes: _Attributes
    kind: SpanKind = SpanKind.INTERNAL
    is_error: bool = False


class RequestSpans:
    """Makes the spans of an engine's requests."""

    def __init__(self, engine: Engine, *, new_id: Callable[[], str]) -> None:
        """Take what requests have in common; `new_id` makes span ids of 16 hexadecimal digits."""
        self._engine = engine
        self._new_id = new_id

    def of(self, request: EngineRequest, clock_offset_s: float) -> list[FinishedSpan]:
        """Return a request's spans, parents first; none if its id holds no trace context.

        `clock_offset_s` turns the engine core's monotonic times into Unix time.
        """
        ids = _parse(request.id)
        if ids is None:
            return []
        *outer, engine = self._outer(request, ids, clock_offset_s)
        spans: list[FinishedSpan] = []
        parent = ids.caller
        for part in (*outer, engine):
            spans.append(self._span(part, ids, parent, clock_offset_s))
            parent = spans[-1].span_id
        stages = [self._span(part, ids, parent, clock_offset_s) for part in _stages(request)]
        return [*spans, *stages]

    def _outer(self, request: EngineRequest, ids: _Ids, clock_offset_s: float) -> list[_Part]:
        """Return the parts that have one another as parents, the engine's last."""
        front_end = self._engine.front_ends.get(request.client)
        arrival_s = _arrival_s(request, clock_offset_s)
        is_known = not _may_have_stopped(request, front_end)
        error = _ERRORS.get(request.status) if is_known else None
        shared: _Attributes = {
            "gen_ai.operation.name": ids.operation,
            "gen_ai.provider.name": "vllm",
            "gen_ai.request.model": request.adapter or self._engine.model,
            "sluice.front_end": front_end.value if front_end else "unknown",
        }
        if request.status == _ABORTED:
            shared["sluice.ended_by"] = "front_end"
        if error is not None:
            shared["error.type"] = error
        reason = REASONS.get(request.status) if is_known else None
        own: _Attributes = {"gen_ai.response.finish_reasons": (reason,)} if reason else {}
        engine = _Part(
            name="engine",
            begin_s=request.queued_s,
            end_s=request.ended_s,
            attributes={**shared, **own, **_details(request, ids, arrival_s)},
            is_error=error is not None,
        )
        if front_end is not FrontEnd.RUST:
            return [engine]
        replica = _Part(
            name="replica",
            begin_s=arrival_s,
            end_s=request.ended_s,
            attributes={**shared, **_first_chunk(request, arrival_s)},
            kind=SpanKind.SERVER,
            is_error=error is not None,
        )
        return [replica, engine]

    def _span(self, part: _Part, ids: _Ids, parent: str, clock_offset_s: float) -> FinishedSpan:
        return FinishedSpan(
            name=part.name,
            trace_id=ids.trace,
            span_id=self._new_id(),
            parent_span_id=parent,
            is_parent_remote=parent is ids.caller,
            kind=part.kind,
            start_ns=int((part.begin_s + clock_offset_s) * _NS_PER_S),
            end_ns=int((max(part.begin_s, part.end_s) + clock_offset_s) * _NS_PER_S),
            attributes=part.attributes,
            is_error=part.is_error,
        )


def _parse(request_id: str) -> _Ids | None:
    found = _ID.match(request_id)
    if found is None:
        return None
    return _Ids(
        operation=_OPERATIONS.get(found["kind"], "chat"),
        response=found["response"],
        trace=found["trace"],
        caller=found["span"],
    )


def _arrival_s(request: EngineRequest, clock_offset_s: float) -> float:
    """Return the arrival on the engine core's clock."""
    arrival_s = request.arrival_s - clock_offset_s
    is_plausible = 0 <= request.queued_s - arrival_s <= ARRIVAL_BEFORE_QUEUE_MAX_S
    return arrival_s if is_plausible else request.queued_s


def _stages(request: EngineRequest) -> list[_Part]:
    """Return the stages that began; the last one ends with the request."""
    begins = [("queue", request.queued_s)]
    if request.scheduled_s is not None:
        begins.append(("prefill", request.scheduled_s))
    if request.first_token_s is not None and _decodes(request):
        begins.append(("decode", request.first_token_s))
    elif request.first_token_s is not None:
        return [_stage(*each) for each in _pairs(begins, request.first_token_s)]
    return [_stage(*each) for each in _pairs(begins, request.ended_s)]


def _pairs(begins: list[tuple[str, float]], end_s: float) -> list[tuple[str, float, float]]:
    ends = [*(begin_s for _, begin_s in begins[1:]), end_s]
    return [(name, begin_s, end) for (name, begin_s), end in zip(begins, ends, strict=True)]


def _stage(name: str, begin_s: float, end_s: float) -> _Part:
    return _Part(name=name, begin_s=begin_s, end_s=end_s, attributes={})


def _decodes(request: EngineRequest) -> bool:
    """Tell whether a second token was on its way; an embedding has no token at all."""
    return request.output_tokens > 1 or (request.output_tokens == 1 and request.status in _ERRORS)


def _may_have_stopped(request: EngineRequest, front_end: FrontEnd | None) -> bool:
    """Tell whether an abort may be the good end of a request.

    Front ends look for stop strings themselves, and abort the request in the engine when they find
    one. Only the Python one tells the engine whether there are any. The edge's span says whether
    the client left.
    """
    can_stop = request.has_stop_strings or front_end is not FrontEnd.PYTHON
    return request.status == _ABORTED and request.output_tokens > 0 and can_stop


def _details(request: EngineRequest, ids: _Ids, arrival_s: float) -> _Attributes:
    scheduled_s, first_token_s = request.scheduled_s, request.first_token_s
    found: dict[str, Attribute | None] = {
        "gen_ai.response.id": ids.response,
        "gen_ai.usage.input_tokens": request.prompt_tokens,
        "gen_ai.usage.output_tokens": request.output_tokens,
        "gen_ai.usage.cache_read.input_tokens": request.cached_tokens,
        "gen_ai.request.max_tokens": request.max_tokens,
        "gen_ai.request.temperature": request.temperature,
        "gen_ai.request.top_p": request.top_p,
        "gen_ai.latency.time_to_first_token": _between(arrival_s, first_token_s),
        "gen_ai.latency.time_in_queue": _between(request.queued_s, scheduled_s),
        "gen_ai.latency.time_in_model_prefill": _between(scheduled_s, first_token_s),
        "gen_ai.latency.time_in_model_decode": _between(first_token_s, request.ended_s),
        "sluice.priority": request.priority,
        "sluice.preemptions": request.preemptions,
    }
    return {name: value for name, value in found.items() if value is not None}


def _first_chunk(request: EngineRequest, arrival_s: float) -> _Attributes:
    waited_s = _between(arrival_s, request.first_token_s)
    return {} if waited_s is None else {"gen_ai.response.time_to_first_chunk": waited_s}


def _between(begin_s: float | None, end_s: float | None) -> float | None:
    return None if begin_s is None or end_s is None else round(end_s - begin_s, 6)
