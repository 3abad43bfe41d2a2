"""Tells what was done: one log line, one span and one fact for each change."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Tracer

from libs.bus.ports import Headers
from libs.contracts.events import RoutingApplied, Stamp
from libs.contracts.ids import EdgeId, EventId
from libs.telemetry.context import extract
from libs.telemetry.logging import get_logger
from services.router_config.domain.drift import DriftKind
from services.router_config.domain.model import ReloadReason, ServerKey, ServerName, is_twin
from services.router_config.domain.plan import Action, Admit, Block, Drain, Join, Publish, Retire
from services.router_config.metrics import Meters
from services.router_config.outbox import Outbox
from services.router_config.ports import Done, Outcome, Pending

_LINKS_MAX: Final = 32

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What one reconcile did; times are Unix times in seconds."""

    revision: int
    started_at: float
    ended_at: float
    outcomes: tuple[tuple[Action, Outcome], ...] = ()
    reload: tuple[ReloadReason, ...] = ()

    @property
    def done(self) -> tuple[Action, ...]:
        """The actions that are in effect."""
        return tuple(action for action, outcome in self.outcomes if isinstance(outcome, Done))

    @property
    def commands(self) -> int:
        """How many runtime commands that took."""
        return sum(o.commands for _, o in self.outcomes if isinstance(o, Done))

    @property
    def pending(self) -> int:
        """How many actions the edge was not ready for."""
        return sum(isinstance(outcome, Pending) for _, outcome in self.outcomes)


class Recorder:
    """Writes changes down, as part of the trace of the replica that caused them."""

    def __init__(
        self,
        tracer: Tracer,
        outbox: Outbox,
        *,
        edge_id: EdgeId,
        new_event_id: Callable[[], EventId],
        meters: Meters,
    ) -> None:
        """Take where spans, facts and counts go."""
        self._tracer = tracer
        self._outbox = outbox
        self._edge_id = edge_id
        self._new_event_id = new_event_id
        self._meters = meters

    def record(self, change: Change, headers: Mapping[ServerName, Headers]) -> None:
        """Record one change; `headers` carry the trace in which each lease was written."""
        parent, links = _causes(change.done, headers)
        span = self._tracer.start_span(
            "reconcile",
            context=parent,
            links=links,
            attributes={
                "sluice.edge_id": self._edge_id,
                "sluice.routing.revision": change.revision,
                "sluice.routing.commands": change.commands,
            },
            start_time=_nanoseconds(change.started_at),
        )
        with trace.use_span(span, end_on_exit=False):
            self._outbox.post(self._fact(change))
            _log_change(change)
        span.end(_nanoseconds(change.ended_at))
        self._meters.applied(duration_s=change.ended_at - change.started_at, reload=change.reload)

    def drifted(self, found: Mapping[DriftKind, int]) -> None:
        """Record that the edge was not as it had been left; nothing if it was."""
        if found:
            self._meters.drifted(found)
            _log.warning("drift_found", **{kind.value: count for kind, count in found.items()})

    def _fact(self, change: Change) -> RoutingApplied:
        return RoutingApplied(
            stamp=Stamp(
                event_id=self._new_event_id(),
                occurred_at=change.ended_at,
                source=f"router-config/{self._edge_id}",
            ),
            edge_id=self._edge_id,
            revision=change.revision,
            commands=change.commands,
            duration_s=change.ended_at - change.started_at,
            servers_added=_names(change.done, Join),
            servers_removed=_names(change.done, Retire),
            reload_reasons=tuple(change.reload),
        )


def _log_change(change: Change) -> None:
    _log.info(
        "routing_applied",
        revision=change.revision,
        commands=change.commands,
        duration_s=round(change.ended_at - change.started_at, 6),
        joined=_names(change.done, Join),
        draining=_names(change.done, Drain),
        retired=_names(change.done, Retire),
        published=any(isinstance(action, Publish) for action in change.done),
        admitted=any(isinstance(action, Admit) for action in change.done),
        blocked=tuple(
            pool for action in change.done if isinstance(action, Block) for pool in action.blocked
        ),
        pending=change.pending,
        reload=tuple(change.reload),
    )


def _causes(
    done: tuple[Action, ...], headers: Mapping[ServerName, Headers]
) -> tuple[Context | None, tuple[Link, ...]]:
    """The first changed server's trace goes on here; the others are linked."""
    keys = (_key(action) for action in done)
    names = dict.fromkeys(key.name for key in keys if key)
    contexts = [extract(headers[name]) for name in names if headers.get(name)]
    if not contexts:
        return None, ()
    spans = (trace.get_current_span(context).get_span_context() for context in contexts[1:])
    return contexts[0], tuple(Link(span) for span in spans if span.is_valid)[:_LINKS_MAX]


def _names(done: tuple[Action, ...], kind: type[Join | Drain | Retire]) -> tuple[str, ...]:
    """Return the replicas that an action was about, told by their servers in twins."""
    keys = (_key(action) for action in done if isinstance(action, kind))
    return tuple(key.name for key in keys if key and is_twin(key.pool))


def _key(action: Action) -> ServerKey | None:
    match action:
        case Publish():
            return None
        case Join(server=server):
            return server.key
        case Drain(key=key) | Retire(key=key):
            return key
        case _:
            return None


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)
