"""Models whose replicas fail to start: what is known of each, and when it is tried again.

    nothing --a start failed--> being tried --Serve gave up--> waiting --due--> being tried
       ^                             |                            |
       +--- a replica became ready, the spec changed, no replica is wanted any more ---+

Ray Serve starts a replica a few times, as fast as it can, and then gives up for good
(`DEPLOY_FAILED`). From then on the model is tried again after 30 s, and after twice as long each
time, up to ten minutes. Serve goes on by itself with a deployment of which one replica has
started before.

Requests of a model that is known to fail need not wait: it is `blocked` from Serve's giving up, or
from the third failed start in a row, until a replica is ready.

Invariants: the same look twice changes nothing; nothing that is known about one model depends on
another; time until the next try runs on a monotonic clock, and a Unix time is only its image.
Source: Ray 2.60, ray/serve/_private/deployment_state.py (`_terminally_failed`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from libs.contracts.failing import RETRY_AFTER_MAX_S, FailingModel, one_line
from libs.contracts.ids import ModelName
from services.autoscaler.domain.moment import Now

FIRST_RETRY_S: Final = 30.0
"""The first pause after Serve has given up."""

BLOCKED_AFTER: Final = 3
"""Failed starts in a row; as many as Serve allows a deployment of one replica."""

SAME_TIME_S: Final = 2.0
"""Unix times that differ by less are one: what was said of a next try then need not change."""

UNKNOWN_ERROR: Final = "no reason was given; the logs of Ray Serve have more"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What a look at one model shows.

    Attributes:
        target: how many replicas are wanted.
        is_current: Serve works with the present spec.
        gave_up: Serve starts no replica of it any more.
        said: what Serve says that went wrong; empty when it says nothing.
        ready: incarnations of ready replicas.
        failed: reasons of starts that failed, by incarnation.
    """

    target: int
    is_current: bool
    gave_up: bool
    said: str
    ready: frozenset[str] = frozenset()
    failed: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What is known of one model that does not come.

    Attributes:
        retries: how often it was tried again after Serve had given up.
        gave_up: Serve starts no replica of it, as of the last look. Every change of Serve's
            configuration hides that for a moment, and the pause goes on meanwhile.
        next_try: monotonic time in seconds; None while it is being tried.
        counted: incarnations in `failed_starts` that may be seen again.
        ready: incarnations that were ready at the last look: only another one is news.
    """

    error: str
    failed_starts: int
    failed_at: float
    blocked: bool = False
    gave_up: bool = False
    retries: int = 0
    next_try: float | None = None
    next_try_at: float | None = None
    counted: frozenset[str] = frozenset()
    ready: frozenset[str] = frozenset()


Failures = Mapping[ModelName, Failure]


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of all models.

    Attributes:
        over: incarnations whose failed start says nothing any more, for as long as they are seen:
            their model has come since, or has another spec.
    """

    failures: Failures = field(default_factory=dict)
    over: frozenset[str] = frozenset()


def look(before: Known, sights: Mapping[ModelName, Sight], now: Now) -> Known:
    """Return what is known after a look at every model that is declared."""
    failures: dict[ModelName, Failure] = {}
    over: set[str] = set()
    for model, sight in sights.items():
        failed = {k: v for k, v in sight.failed.items() if k not in before.over}
        failure = _seen(before.failures.get(model), replace(sight, failed=failed), now)
        if failure is not None:
            failures[model] = failure
            over.update(sight.failed.keys() - failed.keys())
        else:
            over.update(sight.failed)
    return Known(failures=failures, over=frozenset(over))


def due(failures: Failures, now: Now) -> frozenset[ModelName]:
    """Return the models that are to be tried again now."""
    times = _next_tries(failures)
    return frozenset(model for model, at in times.items() if at <= now.monotonic)


def begun(failures: Failures, models: Iterable[ModelName]) -> dict[ModelName, Failure]:
    """Return what is known after Serve took the order to try these again."""
    tried = {
        model: replace(
            failures[model], retries=failures[model].retries + 1, next_try=None, next_try_at=None
        )
        for model in models
    }
    return {**failures, **tried}


def until_next_s(failures: Failures, now: Now) -> float | None:
    """Return the seconds until the next model is due; None when none is."""
    times = _next_tries(failures).values()
    return max(0.0, min(times) - now.monotonic) if times else None


def _next_tries(failures: Failures) -> dict[ModelName, float]:
    return {
        model: failure.next_try
        for model, failure in failures.items()
        if failure.gave_up and failure.next_try is not None
    }


def backoff_s(retries: int) -> float:
    """Return the pause before the next try after so many of them."""
    doublings = min(retries, 10)  # far beyond the cap
    return min(RETRY_AFTER_MAX_S, FIRST_RETRY_S * 2.0**doublings)


def record(model: ModelName, failure: Failure) -> FailingModel:
    """Return what others may know of it."""
    return FailingModel(
        model=model,
        error=failure.error,
        failed_starts=failure.failed_starts,
        failed_at=failure.failed_at,
        next_try_at=failure.next_try_at,
        blocked=failure.blocked,
        retries=failure.retries,
    )


def adopt(records: Iterable[FailingModel], now: Now) -> dict[ModelName, Failure]:
    """Go on with what another autoscaler knew; its pauses are not longer than ours would be."""
    return {each.model: _adopted(each, now) for each in records}


def _adopted(known: FailingModel, now: Now) -> Failure:
    failure = Failure(
        error=known.error,
        failed_starts=known.failed_starts,
        failed_at=known.failed_at,
        blocked=known.blocked,
        retries=known.retries,
    )
    if known.next_try_at is None:
        return failure
    pause_s = min(max(0.0, known.next_try_at - now.unix), backoff_s(known.retries))
    return _waiting(failure, now.monotonic + pause_s, now)


def _seen(before: Failure | None, sight: Sight, now: Now) -> Failure | None:
    news = {k: v for k, v in sight.failed.items() if before is None or k not in before.counted}
    if not sight.is_current or sight.target == 0 or _came(before, sight, news):
        return None
    if not (news or sight.gave_up or sight.said or (before and before.failed_starts)):
        return None
    failure = _noted(before, sight, news, now)
    if failure.next_try is not None:
        failure = _waiting(failure, failure.next_try, now)
    elif sight.gave_up:
        failure = _waiting(failure, now.monotonic + backoff_s(failure.retries), now)
    return replace(failure, blocked=_is_blocked(failure, sight), gave_up=sight.gave_up)


def _came(before: Failure | None, sight: Sight, news: Mapping[str, str]) -> bool:
    """Tell whether the trouble is over: enough replicas are ready, or one more than before."""
    if len(sight.ready) >= sight.target:
        return not sight.gave_up
    return before is not None and not news and bool(sight.ready - before.ready)


def _noted(before: Failure | None, sight: Sight, news: Mapping[str, str], now: Now) -> Failure:
    """Put in what this look adds; a replica's own reason says more than Serve's."""
    known = before or Failure(error="", failed_starts=0, failed_at=now.unix)
    reason = max(news.items())[1] if news else ""
    kept = known.error if known.failed_starts else ""
    gave_up_unseen = int(sight.gave_up and not known.failed_starts and not news)
    return replace(
        known,
        error=one_line(reason or kept or sight.said, otherwise=UNKNOWN_ERROR),
        failed_starts=known.failed_starts + len(news) + gave_up_unseen,
        failed_at=now.unix if news or gave_up_unseen else known.failed_at,
        counted=frozenset(sight.failed),
        ready=sight.ready,
    )


def _waiting(failure: Failure, next_try: float, now: Now) -> Failure:
    """Set the next try, and its Unix time unless that is right already."""
    at = now.unix + next_try - now.monotonic
    said = failure.next_try_at
    same = said is not None and abs(said - at) < SAME_TIME_S
    return replace(failure, next_try=next_try, next_try_at=said if same else at)


def _is_blocked(failure: Failure, sight: Sight) -> bool:
    if sight.ready:
        return False
    was_given_up = failure.next_try is not None or failure.retries > 0
    return was_given_up or failure.failed_starts >= BLOCKED_AFTER
