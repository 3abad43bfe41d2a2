"""What `status` and `up` say of models that do not come, and of an autoscaler that cannot act."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from rich.markup import escape

from libs.bus.ports import Record
from libs.contracts.failing import AutoscalerTrouble, FailingModel
from libs.contracts.ids import ModelName


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureStatus:
    """Why a model has fewer replicas than it should.

    Attributes:
        failed_starts: in a row; 0 while replicas only wait to be placed.
        failed_at: Unix time in seconds when that was last seen.
        next_try_at: Unix time in seconds; None while it is being tried.
        refused: requests are refused at once while no replica is ready.
    """

    error: str
    failed_starts: int
    failed_at: float
    next_try_at: float | None
    refused: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingStatus:
    """Whether targets are followed, as the leading autoscaler last said.

    Attributes:
        trouble: why they are not; empty when they are.
        since: Unix time in seconds; None when there is no trouble.
    """

    trouble: str = ""
    since: float | None = None


def failing_since(records: Iterable[Record], since: float) -> dict[ModelName, FailingModel]:
    """Return the models that do not come; what failed before `since` another stack wrote."""
    found = (each for each in records if isinstance(each, FailingModel))
    return {each.model: each for each in found if each.failed_at >= since}


def trouble_since(records: Iterable[Record], since: float) -> AutoscalerTrouble | None:
    """Return why the autoscaler cannot act, by the same rule."""
    found = (each for each in records if isinstance(each, AutoscalerTrouble))
    return next((each for each in found if each.since >= since), None)


def failure_status(failing: FailingModel | None) -> FailureStatus | None:
    """Return what is told of a model; None when nothing is known to be wrong."""
    if failing is None:
        return None
    return FailureStatus(
        error=failing.error,
        failed_starts=failing.failed_starts,
        failed_at=failing.failed_at,
        next_try_at=failing.next_try_at,
        refused=failing.blocked,
    )


def scaling_status(trouble: AutoscalerTrouble | None) -> ScalingStatus:
    """Return what is told of the autoscaler."""
    if trouble is None:
        return ScalingStatus()
    return ScalingStatus(trouble=trouble.cause, since=trouble.since)


def failure_line(model: str, failure: FailureStatus, *, now: float) -> str:
    """Tell what is wrong, how often it was, and what comes next; `now` is Unix time in seconds."""
    count = failure.failed_starts
    starts = f" ({count} failed start{'s' if count > 1 else ''})" if count else ""
    wait_s = 0.0 if failure.next_try_at is None else failure.next_try_at - now
    when = f"in {math.ceil(wait_s)} s" if wait_s > 0 else "now"
    again = f"; it is tried again {when}" if count else ""
    refused = "; requests are refused meanwhile" if failure.refused else ""
    return f"[yellow]{model}: {escape(failure.error)}{starts}{again}{refused}[/]"
