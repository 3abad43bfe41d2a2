"""One moment on two clocks."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Now:
    """One moment, in seconds: Unix time for people and other processes, monotonic for durations."""

    unix: float
    monotonic: float
