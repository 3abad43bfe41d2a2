"""The steps from what HAProxy is to what it should be, in an order that loses no request.

    absent --Join--> ready --Drain--> drain --Retire--> absent
                       ^                |
                       +----Resume------+

Invariants, each with a property test:
- Planning on the applied state gives nothing once what drains has become idle.
- Who may ask is settled first of all: no route is published while it is open to the wrong ones.
- The pools whose requests are not held are settled before the routes, so that no route leads to a
  pool that is still marked for another model.
- A route never leads to a pool before the pool's new servers are in it: joins stand before
  `Publish`, drains after it, retirements last.
- A replica's server in the twin joins before the one in the main pool, and drains after it.
- A server retires only when it was seen idle after it began to drain, or past the deadline.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from libs.contracts.lease import Address
from services.router_config.domain.access import Access
from services.router_config.domain.model import (
    Admin,
    Blocked,
    Desired,
    Observed,
    ObservedServer,
    PoolName,
    ReloadReason,
    Routes,
    Server,
    ServerKey,
    Unplaced,
    is_twin,
)
from services.router_config.domain.pairs import doors, seconds

POOLS_PER_KIND_MAX = 1024
"""Beyond it models stay unplaced: an empty pool costs memory and a line in every listing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Join:
    """Create a server, start its checks and let it take requests.

    Attributes:
        is_second: another server speaks for the replica, so this one is checked less often.
        door: where the replica is asked who it is; None means at the server itself.
    """

    server: Server
    is_second: bool = False
    door: Address | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    """Let a server that is there take requests, and check it."""

    key: ServerKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Adjust:
    """Set a present server's maxconn."""

    server: Server


@dataclass(frozen=True, slots=True, kw_only=True)
class Weigh:
    """Set a present server's weight; decided by `weights.py`, never part of a plan."""

    key: ServerKey
    weight: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Admit:
    """Replace who may ask and how much, at once and whole; None lets nobody in."""

    access: Access | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Replace the map of pools whose requests are not held, atomically."""

    blocked: Mapping[PoolName, Blocked]


@dataclass(frozen=True, slots=True, kw_only=True)
class Publish:
    """Replace routes and listing, each at once and whole."""

    routes: Routes
    listing: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain:
    """Give a server no new requests; what runs goes on."""

    key: ServerKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Retire:
    """Remove a server; with `cut`, whatever still runs on it ends."""

    key: ServerKey
    cut: bool = False


Action = Admit | Block | Join | Resume | Adjust | Weigh | Publish | Drain | Retire


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingPlan:
    """What to do next.

    Attributes:
        actions: in the order in which they must be done; empty when nothing differs.
        leaving_since: when each leaving server was first seen to leave, Unix time in seconds;
            give it to the next plan.
        reload: why HAProxy must be replaced first; empty in a healthy system.
    """

    actions: tuple[Action, ...] = ()
    leaving_since: Mapping[ServerKey, float] = field(default_factory=dict)
    reload: tuple[ReloadReason, ...] = ()
    unplaced: tuple[Unplaced, ...] = ()


def plan(
    desired: Desired,
    observed: Observed,
    *,
    leaving_since: Mapping[ServerKey, float],
    now: float,
    drain_timeout_s: float,
) -> RoutingPlan:
    """Compare and return the next steps; time is Unix time in seconds."""
    wanted = {server.key: server for server in desired.servers}
    seen = {server.server.key: server for server in observed.servers}
    leaving = [server for key, server in seen.items() if not _stays(server, wanted.get(key))]
    since = {s.server.key: leaving_since.get(s.server.key, now) for s in leaving}
    return RoutingPlan(
        actions=(
            *_admit(desired, observed),
            *_block(desired, observed),
            *_arrivals(wanted.values(), seen),
            *_publish(desired, observed),
            *_departures(leaving, since, now - drain_timeout_s),
        ),
        leaving_since=since,
        reload=_reload(desired, observed),
        unplaced=desired.unplaced,
    )


def _stays(seen: ObservedServer, wanted: Server | None) -> bool:
    """A name that moved to another address or number must leave before it can come back.

    An address that is not known cannot have moved: a name stands for one incarnation.
    """
    if wanted is None or wanted is seen.server:
        return wanted is not None
    if seen.server.number != wanted.number:
        return False
    return seen.server.endpoint in (None, wanted.endpoint) or wanted.endpoint is None


def _arrivals(
    wanted: Collection[Server], seen: Mapping[ServerKey, ObservedServer]
) -> list[Join | Resume | Adjust]:
    actions: list[Join | Resume | Adjust] = []
    differing = [server for server in wanted if not _is_served(server, seen.get(server.key))]
    second = seconds(wanted) if differing else frozenset()
    at = doors(wanted) if differing else {}
    for server in sorted(differing, key=lambda server: _twins_first(server.key)):
        present = seen.get(server.key)
        if present is None:
            is_second = server.key in second
            actions.append(Join(server=server, is_second=is_second, door=at.get(server.key)))
        elif _stays(present, server):
            actions.extend(_corrections(server, present))
    return actions


def _is_served(server: Server, present: ObservedServer | None) -> bool:
    """Whether nothing is to be done, told at once for what is the very object that was seen."""
    return (
        present is not None
        and present.server is server
        and present.admin is Admin.READY
        and present.checked
    )


def _corrections(server: Server, present: ObservedServer) -> list[Resume | Adjust]:
    actions: list[Resume | Adjust] = []
    if present.server.maxconn != server.maxconn:
        actions.append(Adjust(server=server))
    if present.admin is not Admin.READY or not present.checked:
        actions.append(Resume(key=server.key))
    return actions


def _admit(desired: Desired, observed: Observed) -> list[Admit]:
    if desired.access == observed.access and not observed.access_foreign:
        return []
    return [Admit(access=desired.access)]


def _block(desired: Desired, observed: Observed) -> list[Block]:
    if desired.blocked == observed.blocked and not observed.blocked_foreign:
        return []
    return [Block(blocked=desired.blocked)]


def _publish(desired: Desired, observed: Observed) -> list[Publish]:
    same = (desired.routes, desired.listing) == (observed.routes, observed.listing)
    if same and not observed.foreign:
        return []
    return [Publish(routes=desired.routes, listing=desired.listing)]


def _departures(
    leaving: Iterable[ObservedServer], since: Mapping[ServerKey, float], overdue_since: float
) -> list[Drain | Retire]:
    drains: list[Drain | Retire] = []
    retirements: list[Drain | Retire] = []
    for seen in sorted(leaving, key=lambda seen: _twins_last(seen.server.key)):
        key = seen.server.key
        if seen.admin is Admin.READY:
            drains.append(Drain(key=key))
        elif since[key] <= overdue_since:
            retirements.append(Retire(key=key, cut=True))
        elif seen.admin is Admin.MAINT or (seen.sessions == 0 and seen.queued == 0):
            retirements.append(Retire(key=key))
    return [*drains, *retirements]


def _reload(desired: Desired, observed: Observed) -> tuple[ReloadReason, ...]:
    if observed.pools_per_kind >= POOLS_PER_KIND_MAX:
        return ()
    return tuple(sorted({unplaced.reason for unplaced in desired.unplaced}))


def _twins_first(key: ServerKey) -> tuple[bool, str, str]:
    return (not is_twin(key.pool), key.pool, key.name)


def _twins_last(key: ServerKey) -> tuple[bool, str, str]:
    return (is_twin(key.pool), key.pool, key.name)
