"""Pure translation between pools whose model fails to start and the map that HAProxy looks into."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from libs.haproxy.config import failing_value
from services.router_config.domain.model import Blocked, PoolName

Entries = tuple[tuple[str, str], ...]

_VALUE: Final = re.compile(r"(\d+):(.+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadBlocked:
    """A map's content; `foreign` says that it also holds what we never write."""

    blocked: Mapping[PoolName, Blocked]
    foreign: bool


def blocked_entries(blocked: Mapping[PoolName, Blocked]) -> Entries:
    """Render pools, sorted."""
    return tuple(
        (pool, failing_value(next_try_at=blocked[pool].next_try_at, error=blocked[pool].error))
        for pool in sorted(blocked)
    )


def read_blocked(entries: Entries) -> ReadBlocked:
    """Read a map; what we would not have written is left out and counts as foreign."""
    blocked: dict[PoolName, Blocked] = {}
    for pool, value in entries:
        found = _VALUE.fullmatch(value)
        if found is not None:
            read = Blocked(error=found[2], next_try_at=int(found[1]))
            blocked.setdefault(PoolName(pool), read)
    return ReadBlocked(blocked=blocked, foreign=sorted(entries) != sorted(blocked_entries(blocked)))
