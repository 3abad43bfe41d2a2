"""What clients want of a model and do not get: from edges' reports to one number.

A report says what waits now, so the last one of each edge counts, for a few seconds. Refused
requests are counted from HAProxy's start: only growth between two reports of one edge is news, and
a count that fell is a HAProxy that started anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from libs.contracts.ids import EdgeId, ModelName
from libs.contracts.reports import DemandReport

FRESH_S: Final = 5.0
"""Edges report once a second; what is older than this is unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeardDemand:
    """One edge's last report about one model.

    Attributes:
        heard_at: monotonic time in seconds, by the clock of the one who heard it.
        refused_at: when its refused requests were last seen to grow; None while they were not.
    """

    report: DemandReport
    heard_at: float
    refused_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """The last report of every edge about every model."""

    heard: Mapping[tuple[ModelName, EdgeId], HeardDemand] = field(default_factory=dict)


def hear(demand: Demand, report: DemandReport, *, now: float) -> Demand:
    """Return what is known after one more report; what has grown old is forgotten."""
    key = (report.model, report.edge_id)
    before = demand.heard.get(key)
    fresh = {k: each for k, each in demand.heard.items() if now - each.heard_at <= FRESH_S}
    refused_at = now if before and _refused_more(before.report, report) else None
    if refused_at is None and before is not None:
        refused_at = before.refused_at
    return Demand(
        heard={**fresh, key: HeardDemand(report=report, heard_at=now, refused_at=refused_at)}
    )


def unserved(demand: Demand, model: ModelName, *, now: float) -> int | None:
    """Return how many requests wait for a replica or were refused just now; None is unknown.

    However many were refused, they count as one: they are gone, and may be the same client's.
    """
    mine = [
        each
        for (name, _), each in demand.heard.items()
        if name == model and now - each.heard_at <= FRESH_S
    ]
    if not mine:
        return None
    return sum(_waiting(each.report) + _refused_lately(each, now) for each in mine)


def _waiting(report: DemandReport) -> int:
    return (report.held or 0) + (report.queued or 0)


def _refused_lately(heard: HeardDemand, now: float) -> int:
    return int(heard.refused_at is not None and now - heard.refused_at <= FRESH_S)


def _refused_more(before: DemandReport, after: DemandReport) -> bool:
    if before.refused_count is None or after.refused_count is None:
        return False
    return after.refused_count > before.refused_count
