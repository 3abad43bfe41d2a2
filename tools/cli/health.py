"""What is wrong with a stack, as far as `status` can tell (pure)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from libs.contracts.leader import LEADER_TTL_S, LeaderClaim

if TYPE_CHECKING:
    from tools.cli.status import Status

ROUTING_AGE_MAX_S: Final = 12.0
"""An edge that has said nothing for this long has missed its turn twice."""

_GOOD_STATES: Final = frozenset({"RUNNING", "STARTING"})


@dataclass(frozen=True, slots=True, kw_only=True)
class BusStatus:
    """NATS, as far as this command could try it.

    Attributes:
        takes_writes: whether it stored something just now; None where it does not answer.
        cause: why it does not answer or does not store; empty where it does.
    """

    answers: bool
    takes_writes: bool | None
    cause: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoscalerStatus:
    """Who acts on declared models and targets.

    Attributes:
        leads: whether some autoscaler does; None where the bus cannot tell.
        age_s: how old its claim is, which it renews every second; None where there is none.
    """

    leads: bool | None
    age_s: float | None


def problems(status: Status) -> Iterator[str]:
    """Say what is wrong, first what everything else may come from."""
    if not status.supervised:
        yield (
            "supervisord does not answer, so nothing that ends is started again;"
            " `./sluice up` repairs that and ends nothing"
        )
    for each in status.processes:
        if each.state not in _GOOD_STATES:
            yield f"{each.name} is {each.state.lower()}; see `./sluice logs {each.name}`"
    if not status.bus.answers:
        yield status.bus.cause
        return
    if not status.bus.takes_writes:
        yield (
            f"NATS answers and stores nothing ({status.bus.cause}): no lease, no scale and"
            " no other change has an effect; is its disk full?"
        )
    yield from _silent_services(status)


def _silent_services(status: Status) -> Iterator[str]:
    if not status.autoscaler.leads:
        yield "no autoscaler leads: targets and declared models have no effect"
    if status.scaling.trouble:
        yield f"scaling does not work: {status.scaling.trouble}"
    for model in status.models:
        if model.failure is not None:
            yield f"{model.name} has fewer replicas than it should: {model.failure.error}"
    routing = status.routing
    if routing.age_s is not None and routing.age_s > ROUTING_AGE_MAX_S:
        yield f"the edge last reported {routing.age_s:.0f} s ago; what is shown of it is old"
    if routing.degraded:
        yield f"the edge is degraded: {routing.degraded}"


def autoscaler_status(claim: LeaderClaim | None, now: float) -> AutoscalerStatus:
    """Tell whether a claim read at `now` (Unix seconds) still counts."""
    if claim is None:
        return AutoscalerStatus(leads=False, age_s=None)
    age_s = seconds_since(claim.claimed_at, now)
    return AutoscalerStatus(leads=age_s <= LEADER_TTL_S, age_s=age_s)


def seconds_since(at: float, now: float) -> float:
    """Return how long ago something was, in seconds; what is ahead of this clock is 0 s old."""
    return round(max(0.0, now - at), 1)
