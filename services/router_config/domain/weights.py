"""What share of a pool's requests each server should get, from the load that replicas report.

Least-loaded pools. HAProxy compares requests per weight, and a request is not a request: one
replica's may fill its KV cache while another's are short. So a server's weight follows its room:

    room   = (1 - kv_cache_usage_ratio) / (1 + waiting / (running + 1))      at least ROOM_MIN
    wanted = SERVER_WEIGHT * room / mean room of the pool's known servers    WEIGHT_MIN..WEIGHT_MAX
    next   = wanted, but at most twice and at least half of the present weight

A weight moves only if `wanted` is more than a quarter away from it.
Replicas that are equally loaded all have SERVER_WEIGHT, however high the load is.

Prefix pools. A weight is a share of the ring: each change moves keys to servers that do not hold
their prefixes, and the bounded load already takes requests away from a busy server without moving
anybody else's. So every server has SERVER_WEIGHT, until its engine is short of memory:

    pressed  kv_cache_usage_ratio >= PRESSED_RATIO and waiting > 0: half of SERVER_WEIGHT
    relaxed  kv_cache_usage_ratio <= RELAXED_RATIO and waiting = 0: SERVER_WEIGHT
    between, or while more than half of the known servers are pressed: the weight that it has

A full cache evicts the prefixes that a move would lose, so moving half of the keys costs little
then; with few weights to choose from, the keys that come back find the server they left.

A replica's server in the twin is weighed as the one in the main pool: one engine is behind both.

Missing is not zero: a server without a fresh and complete report keeps its weight and counts in no
mean. Invariants, each with a property test: weights stay within bounds; equal loads change nothing;
with the same reports a few rounds lead to no further change; less room never gives more weight.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from statistics import fmean
from typing import Final

from libs.contracts.ids import ModelName, ReplicaId
from libs.contracts.reports import LoadReport
from services.router_config.domain.model import (
    SERVER_WEIGHT,
    Admin,
    Health,
    Observed,
    ObservedServer,
    PoolKind,
    PoolName,
    main_of,
)
from services.router_config.domain.plan import Weigh

WEIGHT_MIN: Final = SERVER_WEIGHT // 4
"""A server with less would learn too late that it has room again."""

WEIGHT_MAX: Final = SERVER_WEIGHT * 4
STEP_MAX: Final = 2.0
DEAD_BAND_RATIO: Final = 0.25
ROOM_MIN: Final = 0.02
PRESSED_RATIO: Final = 0.95
RELAXED_RATIO: Final = 0.8
PRESSED_WEIGHT: Final = SERVER_WEIGHT // 2

CHANGES_MAX: Final = 64
"""Commands of one round; the weights that are farthest off come first."""

Loads = Mapping[tuple[ModelName, ReplicaId], LoadReport]
"""The last report of each replica; one that is too old is not in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """A server whose load is known."""

    seen: ObservedServer
    running: int
    waiting: int
    kv_cache_usage_ratio: float

    @property
    def room(self) -> float:
        free = 1.0 - self.kv_cache_usage_ratio
        return max(ROOM_MIN, free / (1.0 + self.waiting / (self.running + 1)))

    @property
    def pressed(self) -> bool:
        return self.waiting > 0 and self.kv_cache_usage_ratio >= PRESSED_RATIO

    @property
    def relaxed(self) -> bool:
        return self.waiting == 0 and self.kv_cache_usage_ratio <= RELAXED_RATIO


def weigh(observed: Observed, loads: Loads) -> tuple[Weigh, ...]:
    """Return the weights to set, at most CHANGES_MAX; none when nothing is far enough off."""
    known = _known(observed, loads)
    changes: list[tuple[float, Weigh]] = []
    for pool, servers in groupby(known, key=lambda server: server.seen.server.key.pool):
        for server, weight in _wanted(pool, tuple(servers)):
            if weight != server.seen.weight:
                action = Weigh(key=server.seen.server.key, weight=weight)
                changes.append((_distance(weight, server.seen.weight), action))
    changes.sort(key=lambda change: (-change[0], change[1].key.pool, change[1].key.name))
    return tuple(action for _, action in changes[:CHANGES_MAX])


def _known(observed: Observed, loads: Loads) -> list[_Known]:
    """Servers that take requests and whose load is known, pool by pool."""
    models = observed.models_by_pool()
    found: list[_Known] = []
    for seen in sorted(observed.servers, key=lambda seen: seen.server.key.pool):
        model = models.get(main_of(seen.server.key.pool))
        if model is None or seen.admin is not Admin.READY or seen.health is Health.DOWN:
            continue
        replica = ReplicaId(seen.server.key.name.rpartition(".")[0])
        server = _with_load(seen, loads.get((model, replica)))
        if server is not None:
            found.append(server)
    return found


def _with_load(seen: ObservedServer, report: LoadReport | None) -> _Known | None:
    if report is None or report.running is None or report.waiting is None:
        return None
    if report.kv_cache_usage_ratio is None:
        return None
    return _Known(
        seen=seen,
        running=max(0, report.running),
        waiting=max(0, report.waiting),
        kv_cache_usage_ratio=min(1.0, max(0.0, report.kv_cache_usage_ratio)),
    )


def _wanted(pool: PoolName, servers: tuple[_Known, ...]) -> Iterable[tuple[_Known, int]]:
    if pool.startswith(PoolKind.PREFIX):
        return _by_pressure(servers)
    return _by_room(servers)


def _by_room(servers: tuple[_Known, ...]) -> list[tuple[_Known, int]]:
    mean = fmean(server.room for server in servers)
    return [
        (server, _approached(server.seen.weight, SERVER_WEIGHT * server.room / mean))
        for server in servers
    ]


def _approached(present: int, ideal: float) -> int:
    """Return the next weight on the way to the ideal one, or the present one if that is near."""
    wanted = round(min(WEIGHT_MAX, max(WEIGHT_MIN, ideal)))
    if abs(wanted - present) <= DEAD_BAND_RATIO * present and WEIGHT_MIN <= present <= WEIGHT_MAX:
        return present
    next_weight = round(min(present * STEP_MAX, max(present / STEP_MAX, wanted)))
    return min(WEIGHT_MAX, max(WEIGHT_MIN, next_weight))


def _by_pressure(servers: tuple[_Known, ...]) -> list[tuple[_Known, int]]:
    is_widespread = 2 * sum(server.pressed for server in servers) > len(servers)
    return [(server, _eased(server, is_widespread=is_widespread)) for server in servers]


def _eased(server: _Known, *, is_widespread: bool) -> int:
    if server.relaxed:
        return SERVER_WEIGHT
    if server.pressed and not is_widespread:
        return PRESSED_WEIGHT
    return server.seen.weight


def _distance(wanted: int, present: int) -> float:
    """How far a weight is off, as a factor of 1 or more."""
    return max(wanted, present) / max(1, min(wanted, present))
