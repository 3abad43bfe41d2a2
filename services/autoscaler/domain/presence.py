"""Whether Ray Serve runs: what the dashboard's "no" is worth.

The dashboard says that Serve does not run also while it cannot ask, as when Ray's GCS is being
started again. Acting on that at once would write a whole configuration in which an
application is missing whose declaration cannot be read. So a Serve that ran a moment ago, or that
may have an application that could not be written again, must be missing for a while.
Source: Ray 2.60, ray/dashboard/modules/serve/serve_head.py (`get_serve_controller`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MISSING_FOR_S: Final = 10.0
"""Longer than a GCS takes to start again, shorter than a Ray node takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence:
    """What is known of Serve.

    Attributes:
        seen: whether it has been seen to run.
        missing_since: monotonic time in seconds; None while it runs, and before the first look.
    """

    seen: bool = False
    missing_since: float | None = None


def notice(before: Presence, *, runs: bool, now: float) -> Presence:
    """Return what is known after a look at `now`, monotonic seconds."""
    if runs:
        return Presence(seen=True)
    since = now if before.missing_since is None else before.missing_since
    seen = before.seen and now - since < MISSING_FOR_S
    return Presence(seen=seen, missing_since=since)


def is_certain(presence: Presence, *, unreadable: frozenset[str], now: float) -> bool:
    """Tell whether Serve may be taken for what it looks like."""
    if presence.missing_since is None:
        return True
    missing_for_s = now - presence.missing_since
    return missing_for_s >= MISSING_FOR_S or not (presence.seen or unreadable)
