"""The metrics of router-config: one catalogue, and the counters that grow as things happen.

Gauges are read from the loop's standing when Prometheus asks (`gauges.py`).
Labels are bounded: enums, and the names of pools in use.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, get_args

from prometheus_client import CollectorRegistry, Counter, Histogram

from services.router_config.domain.drift import DriftKind
from services.router_config.domain.model import ReloadReason
from services.router_config.domain.plan import Action
from services.router_config.ports import Done, Edge, EdgeView, Outcome, Refused

PREFIX: Final = "sluice_router_config_"


class MetricKind(StrEnum):
    """How a value moves."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One entry of the catalogue; a counter's name ends with `_total` where it is shown."""

    name: str
    kind: MetricKind
    meaning: str
    labels: tuple[str, ...] = ()

    @property
    def full_name(self) -> str:
        """The name as Prometheus has it."""
        return f"{PREFIX}{self.name}{'_total' if self.kind is MetricKind.COUNTER else ''}"


APPLY_DURATION: Final = Metric(
    name="apply_duration_seconds",
    kind=MetricKind.HISTOGRAM,
    meaning="Time from the look that found a difference to the last command that removed it.",
)
DRIFT_FOUND: Final = Metric(
    name="drift_found",
    kind=MetricKind.COUNTER,
    meaning="Servers and maps of HAProxy found otherwise than they had been left.",
    labels=("what",),
)
COMMANDS: Final = Metric(
    name="commands",
    kind=MetricKind.COUNTER,
    meaning="Runtime commands that HAProxy has done, by what they were for.",
    labels=("action",),
)
REFUSALS: Final = Metric(
    name="actions_refused",
    kind=MetricKind.COUNTER,
    meaning="Actions that HAProxy refused, by what they were for.",
    labels=("action",),
)
RELOADS: Final = Metric(
    name="reloads",
    kind=MetricKind.COUNTER,
    meaning="HAProxy programs replaced by a new one since router-config started.",
    labels=("reason",),
)
ROUTING_REVISION: Final = Metric(
    name="routing_revision",
    kind=MetricKind.GAUGE,
    meaning="Changes applied to HAProxy since the state directory was made.",
)
LEASES: Final = Metric(
    name="leases",
    kind=MetricKind.GAUGE,
    meaning="Replica leases on the bus, as last heard.",
    labels=("state",),
)
SERVERS: Final = Metric(
    name="servers",
    kind=MetricKind.GAUGE,
    meaning="Replicas of each pool by the server that speaks for them; up, down and unknown ones"
    " may take requests.",
    labels=("pool", "state"),
)
HELD: Final = Metric(
    name="held_requests",
    kind=MetricKind.GAUGE,
    meaning="Requests that wait because their pool has no usable server.",
    labels=("pool",),
)
BUS_CONNECTED: Final = Metric(
    name="bus_connected",
    kind=MetricKind.GAUGE,
    meaning="1 while the live copy of the bus is whole, 0 while it is not.",
)
BUS_AWAY: Final = Metric(
    name="bus_away_seconds",
    kind=MetricKind.GAUGE,
    meaning="Time since the bus was last whole; 0 while it is, absent before it ever was.",
)
DEGRADED: Final = Metric(
    name="degraded",
    kind=MetricKind.GAUGE,
    meaning="1 while this keeps the edge from being what the bus says.",
    labels=("reason",),
)

CATALOGUE: Final = (
    APPLY_DURATION,
    DRIFT_FOUND,
    COMMANDS,
    REFUSALS,
    RELOADS,
    ROUTING_REVISION,
    LEASES,
    SERVERS,
    HELD,
    BUS_CONNECTED,
    BUS_AWAY,
    DEGRADED,
)

_DURATION_BUCKETS_S: Final = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1),
    *(0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)


class Meters:
    """Counters and the histogram, all of them there with 0 from the start."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register them."""
        self._duration = Histogram(
            PREFIX + APPLY_DURATION.name,
            APPLY_DURATION.meaning,
            registry=registry,
            buckets=_DURATION_BUCKETS_S,
        )
        actions = [action_label(kind) for kind in get_args(Action)]
        self._commands = _counter(COMMANDS, registry, actions)
        self._refusals = _counter(REFUSALS, registry, actions)
        self._reloads = _counter(RELOADS, registry, ReloadReason)
        self._drift = _counter(DRIFT_FOUND, registry, DriftKind)

    def applied(self, *, duration_s: float, reload: Iterable[ReloadReason]) -> None:
        """Count one change of HAProxy."""
        self._duration.observe(duration_s)
        for reason in reload:
            self._reloads.labels(reason).inc()

    def acted(self, action: Action, outcome: Outcome) -> None:
        """Count what one action came to."""
        label = action_label(type(action))
        if isinstance(outcome, Done):
            self._commands.labels(label).inc(outcome.commands)
        elif isinstance(outcome, Refused):
            self._refusals.labels(label).inc()

    def drifted(self, found: Mapping[DriftKind, int]) -> None:
        """Count differences that nobody asked for."""
        for kind, count in found.items():
            self._drift.labels(kind).inc(count)


class MeteredEdge:
    """An edge whose actions are counted, whoever asks for them."""

    def __init__(self, edge: Edge, meters: Meters) -> None:
        """Stand in front of an edge."""
        self._edge = edge
        self._meters = meters

    async def observe(self) -> EdgeView:
        """Read the whole state; raises as the edge does."""
        return await self._edge.observe()

    async def apply(self, action: Action) -> Outcome:
        """Do one action; raises as the edge does."""
        (outcome,) = await self.apply_all((action,))
        return outcome

    async def apply_all(self, actions: Sequence[Action]) -> Sequence[Outcome]:
        """Do actions in their order; raises as the edge does."""
        outcomes = await self._edge.apply_all(actions)
        for action, outcome in zip(actions, outcomes, strict=True):
            self._meters.acted(action, outcome)
        return outcomes


def action_label(kind: type[Action]) -> str:
    """Return an action's label: its name in lower case."""
    return kind.__name__.lower()


def _counter(metric: Metric, registry: CollectorRegistry, values: Iterable[str]) -> Counter:
    counter = Counter(PREFIX + metric.name, metric.meaning, metric.labels, registry=registry)
    for value in values:
        counter.labels(value)
    return counter
