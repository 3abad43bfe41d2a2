"""Writes decisions and their effects where others find them: the bus, its facts, and traces."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context

from libs.bus.ports import EventBus, StateStore
from libs.clock import Clock
from libs.contracts.events import ScaleDecided, ScaleDone, Stamp
from libs.contracts.ids import EventId, ModelName
from libs.contracts.subjects import TARGETS_BUCKET, decided_target_key
from libs.contracts.targets import DecidedTarget
from services.autoscaler.domain.decide import Decision
from services.autoscaler.domain.progress import Reached

SOURCE: Final = "autoscaler"
_NS_PER_S: Final = 1_000_000_000

_tracer = trace.get_tracer("sluice.autoscaler")


class Recorder:
    """Records what was decided and what came of it."""

    def __init__(self, store: StateStore, events: EventBus, clock: Clock) -> None:
        """Start with no decision under way."""
        self._store = store
        self._events = events
        self._clock = clock
        self._contexts: dict[ModelName, Context] = {}

    async def decided(
        self, model: ModelName, decision: Decision, last: DecidedTarget | None, ready: int | None
    ) -> DecidedTarget:
        """Record a new decision, then make it the model's decided target; safe to repeat."""
        now = self._clock.now()
        target = DecidedTarget(
            model=model, replicas=decision.target, reason=decision.reason, decided_at=now
        )
        await self._events.record(
            ScaleDecided(
                stamp=_stamp(now, "decided", target, last.decided_at if last else 0.0),
                model=model,
                target=decision.target,
                previous=last.replicas if last else None,
                observed=ready,
                reason=decision.reason,
            )
        )
        await self._store.put(TARGETS_BUCKET, decided_target_key(model), target)
        self._contexts[model] = trace.set_span_in_context(trace.get_current_span(), Context())
        return target

    async def reached(self, reached: Reached) -> None:
        """Record that a decision has its effect, as a span from the one to the other."""
        target = reached.decided
        context = self._contexts.pop(target.model, Context())
        began_ns = int(target.decided_at * _NS_PER_S)
        span = _tracer.start_span("scale", context=context, start_time=began_ns)
        span.set_attribute("sluice.model", target.model)
        span.set_attribute("sluice.target", target.replicas)
        with trace.use_span(span, end_on_exit=True):
            now = self._clock.now()
            await self._events.record(
                ScaleDone(
                    stamp=_stamp(now, "done", target, target.decided_at),
                    model=target.model,
                    target=target.replicas,
                    duration_s=reached.duration_s,
                )
            )

    async def forget(self, gone: Mapping[ModelName, DecidedTarget]) -> None:
        """Remove the decisions about models that are no longer declared."""
        for model in gone:
            await self._store.delete(TARGETS_BUCKET, decided_target_key(model))


def _stamp(now: float, what: str, target: DecidedTarget, since: float) -> Stamp:
    # The id follows from what happened, so that a repetition after a lost answer is stored once.
    text = f"{what} {target.model} {target.replicas} {target.reason} {since}"
    event_id = EventId(hashlib.sha256(text.encode()).hexdigest()[:32])
    return Stamp(event_id=event_id, occurred_at=now, source=SOURCE)
