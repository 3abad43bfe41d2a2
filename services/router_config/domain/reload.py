"""When a running HAProxy must be replaced, and when to try again where that failed.

What runs is compared with what a start would give, both as they are now: so a change is never
lost, even if a start or a reload in between failed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from services.router_config.domain.model import ReloadReason
from services.router_config.domain.plan import POOLS_PER_KIND_MAX

RETRY_S: Final = 1.0
RETRY_MAX_S: Final = 60.0
"""A failing reload costs CPU time, and its cause usually has to be fixed by a person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """What a HAProxy cannot change while it runs.

    Attributes:
        config: tells one configuration from another; empty where a HAProxy does not say it.
        pools_per_kind: how many pools it has for each routing policy.
    """

    config: str
    pools_per_kind: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempts:
    """Reloads that have not led to what was wanted, one after the other.

    Attributes:
        count: how many there were.
        next_at: monotonic time in seconds before which none is tried.
    """

    count: int = 0
    next_at: float = 0.0

    def with_another(self, *, now: float) -> Attempts:
        """Count one more at a monotonic time in seconds; each waits twice as long as the last."""
        wait_s = min(RETRY_MAX_S, RETRY_S * 2.0**self.count)
        return Attempts(count=self.count + 1, next_at=now + wait_s)


def reload_reasons(
    planned: Iterable[ReloadReason], *, running: Build, on_disk: Build | None
) -> tuple[ReloadReason, ...]:
    """Return why the running program must be replaced.

    `planned` is what the plan needs; `on_disk` is what a start would give, None while the files
    are not what they should be: then a reload would change nothing.
    """
    if on_disk is None:
        return ()
    reasons = set(planned)
    is_other = running.config != on_disk.config or running.pools_per_kind < on_disk.pools_per_kind
    if is_other and not reasons:
        reasons.add(ReloadReason.CONFIG_CHANGED)
    return tuple(sorted(reasons))


def pools_after(reasons: Iterable[ReloadReason], *, running: Build, on_disk: Build) -> int:
    """Return how many pools of a kind the next program has; never fewer than were decided."""
    if ReloadReason.POOLS_EXHAUSTED not in reasons:
        return on_disk.pools_per_kind
    doubled = min(2 * running.pools_per_kind, POOLS_PER_KIND_MAX)
    return max(on_disk.pools_per_kind, doubled)
