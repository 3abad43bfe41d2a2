"""Decide when to restart NATS: writes fail although the disk has room (pure).

Theory: a restart can't help while the disk is full. Each failed write breaks one more stream until
the next restart, so no write is tried then. Afterwards, and once a minute in any case, each stream
is tried. The server is restarted only if it answers but takes no write, twice in a row, and not
more often than every `RESTART_PAUSE_S`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

ROOM_BYTES_MIN: Final = 32 * 1024 * 1024
"""Below this a disk counts as full: nats-server writes blocks of up to 8 MiB a stream."""

PROBE_S: Final = 60.0
"""How often writes are tried while nothing points to trouble, in seconds."""

FAILURES_MAX: Final = 2
RESTART_PAUSE_S: Final = 30.0
"""The shortest time between two restarts, in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """State of the watch; times are in monotonic seconds.

    Attributes:
        suspected: the disk was full or a write failed since writes were last seen to work.
        probed_at: when writes were last tried; None before the first time.
    """

    suspected: bool = False
    failures: int = 0
    probed_at: float | None = None
    restarted_at: float | None = None


def after_look(health: Health, *, free_bytes: int) -> Health:
    """Record how much room there is."""
    if free_bytes < ROOM_BYTES_MIN:
        return replace(health, suspected=True, failures=0)
    return health


def is_probe_due(health: Health, *, free_bytes: int, now: float) -> bool:
    """Tell whether to try writes now."""
    if free_bytes < ROOM_BYTES_MIN:
        return False
    return health.suspected or health.probed_at is None or now - health.probed_at >= PROBE_S


def after_probe(health: Health, *, is_failing: bool | None, now: float) -> Health:
    """Record whether writes fail; None if the server did not answer."""
    tried = replace(health, probed_at=now)
    match is_failing:
        case None:
            return tried
        case False:
            return replace(tried, suspected=False, failures=0)
        case True:
            return replace(tried, suspected=True, failures=health.failures + 1)


def is_restart_due(health: Health, *, now: float) -> bool:
    """Tell whether to restart the server."""
    if health.failures < FAILURES_MAX:
        return False
    return health.restarted_at is None or now - health.restarted_at >= RESTART_PAUSE_S


def after_restart(health: Health, *, now: float) -> Health:
    """Record a restart; the next probe tells whether it helped."""
    return replace(health, failures=0, restarted_at=now)
