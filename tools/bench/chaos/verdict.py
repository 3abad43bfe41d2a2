"""What may fail and what may not, given what was done to the stack (pure).

A request may fail only with its own replica, with HAProxy, or with the part that its kind needs.
A stream may never end early without a sign.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from tools.bench.chaos.faults import Cost, Fault
from tools.bench.chaos.outcomes import Ending, Kind, Outcome

_AFTER_S: Final = 1.0
"""A break reaches a client this much after its cause is gone, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """What was done, and for how long it was felt.

    Attributes:
        began_s: on the run's clock, as `ended_s`, when everything was right again.
        lost: servers of replicas that were there before and not afterwards.
    """

    faults: tuple[Fault, ...]
    began_s: float
    ended_s: float
    lost: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        """The faults' names."""
        return " + ".join(each.name for each in self.faults)

    @property
    def costs(self) -> frozenset[Cost]:
        """What the faults may cost together."""
        return frozenset(each.cost for each in self.faults)

    def touches(self, outcome: Outcome) -> bool:
        """Tell whether a request was under way meanwhile."""
        return outcome.began_s <= self.ended_s + _AFTER_S and outcome.ended_s >= self.began_s

    def excuses(self, outcome: Outcome) -> bool:
        """Tell whether a request may fail by this."""
        if outcome.ending is Ending.SILENT or not self.touches(outcome):
            return False
        if Cost.EVERYTHING in self.costs:
            return True
        if outcome.kind is Kind.LARGE and self._breaks_large():
            return True
        if Cost.ALL_REPLICAS in self.costs and outcome.server is None:
            return True
        return outcome.server in self.lost and bool(self.costs & _OF_REPLICAS)

    def _breaks_large(self) -> bool:
        """A large body is not sent again, so it fails with its replica before a first byte too."""
        return bool(self.costs & {Cost.LARGE_BODIES, Cost.ONE_REPLICA, Cost.ALL_REPLICAS})


_OF_REPLICAS: Final = frozenset({Cost.ONE_REPLICA, Cost.ALL_REPLICAS})


def unexcused(failures: Iterable[Outcome], incidents: Sequence[Incident]) -> list[Outcome]:
    """Return the requests that failed without a reason that was allowed."""
    return [
        failure
        for failure in failures
        if not any(incident.excuses(failure) for incident in incidents)
    ]


def lost_too_many(incident: Incident) -> str:
    """Say which replicas are gone that the faults should have left; empty where none is."""
    if any(each.changes_replicas for each in incident.faults):
        return ""
    if Cost.ALL_REPLICAS in incident.costs:
        return ""
    allowed = sum(each.cost is Cost.ONE_REPLICA for each in incident.faults)
    if len(incident.lost) <= allowed:
        return ""
    return f"{incident.name}: {len(incident.lost)} replicas are gone, {allowed} may be"
