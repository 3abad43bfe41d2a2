"""Nouns of routing: pools, servers and routes, as they should be and as they are seen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import chain
from typing import Final, NewType, Self

from libs.contracts.failing import FailingModel
from libs.contracts.ids import ModelName
from libs.contracts.lease import Address, ReplicaLease
from libs.contracts.model_spec import ModelSpec, RoutingPolicy
from services.router_config.domain.access import Access, KnownTenants

PoolName = NewType("PoolName", str)
"""A pool of HAProxy: its kind's two letters and a number, such as `lc0`; a twin adds `-py`."""

TWIN_SUFFIX: Final = "-py"
"""What a twin's name adds to its pool's."""

ServerName = NewType("ServerName", str)
"""One incarnation of one replica: `<replica_id>.<incarnation>`."""

SERVER_WEIGHT: Final = 16
"""What a server joins with, and what a start from disk gives it; `weights.py` moves it afterwards.

Below 16, a consistent hash spreads unevenly. Source: `share of 800 keys over 4 servers`.
"""


class PoolKind(StrEnum):
    """How a pool chooses; the value begins the pool's name."""

    LEAST_LOADED = "lc"
    PREFIX = "px"


KIND_OF_POLICY: Final[Mapping[RoutingPolicy, PoolKind]] = {
    RoutingPolicy.LEAST_LOADED: PoolKind.LEAST_LOADED,
    RoutingPolicy.PREFIX: PoolKind.PREFIX,
}


class FrontEnds(StrEnum):
    """Which front ends may answer requests for a name; the third field of its route.

    SPLIT: every Rust front end of the main pool answers to the name, so the table of paths and
        body fields decides between the main pool and its twin.
    PYTHON: the twin alone: some Rust front end does not know the name, or there is none.
    """

    SPLIT = "split"
    PYTHON = "python"


class Admin(StrEnum):
    """What was asked of a server: take requests, finish what runs, or nothing at all."""

    READY = "ready"
    DRAIN = "drain"
    MAINT = "maint"


class Health(StrEnum):
    """What HAProxy's own checks say of a server."""

    UP = "up"
    DOWN = "down"
    UNKNOWN = "unknown"


class ReloadReason(StrEnum):
    """Why HAProxy must be replaced by a new program; nothing else ever reloads it."""

    POOLS_EXHAUSTED = "pools_exhausted"
    CONFIG_CHANGED = "config_changed"


def twin_of(pool: PoolName) -> PoolName:
    """Return the pool of the Python applications beside a main pool."""
    return PoolName(f"{pool}{TWIN_SUFFIX}")


def main_of(pool: PoolName) -> PoolName:
    """Return the main pool of a twin; a main pool is its own."""
    return PoolName(pool.removesuffix(TWIN_SUFFIX))


def is_twin(pool: PoolName) -> bool:
    """Whether a pool holds Python applications beside a main pool."""
    return pool.endswith(TWIN_SUFFIX)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerKey:
    """Names one server of one pool."""

    pool: PoolName
    name: ServerName


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server as it should be.

    Attributes:
        number: the place on a hash ring, unique in its pool and the same in its twin.
        endpoint: None for a server on a unix socket whose path is unknown: HAProxy does not show
            paths, and the state directory was lost.
        maxconn: requests that are sent at once.
    """

    key: ServerKey
    number: int
    endpoint: Address | None
    maxconn: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedServer:
    """A server as HAProxy shows it.

    Attributes:
        checked: health checks are switched on.
        sessions: requests on it now.
        queued: requests waiting for it now.
        weight: its share of requests relative to the others of its pool, 1 to 256.
    """

    server: Server
    admin: Admin
    health: Health
    checked: bool
    sessions: int
    queued: int
    weight: int = SERVER_WEIGHT


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Where a name that clients send leads to; `pool` is always a main pool."""

    pool: PoolName
    model: ModelName
    front_ends: FrontEnds = FrontEnds.PYTHON


class Routes(Mapping[str, Route]):
    """Where the names that clients send lead: models' own names, their aliases and adapters.

    Names are kept by route, each set of them whole: of 100,000 names nearly all belong to sets
    that are the very objects that they were, so whoever compares does not look at them.
    """

    __slots__ = ("by_route",)

    def __init__(self, by_route: Mapping[Route, frozenset[str]] | None = None) -> None:
        """Take sets that have no name in common; empty ones are left out."""
        self.by_route = {route: names for route, names in (by_route or {}).items() if names}

    @classmethod
    def of(cls, flat: Mapping[str, Route]) -> Self:
        """Collect names by their route."""
        names: dict[Route, list[str]] = {}
        for name, route in flat.items():
            names.setdefault(route, []).append(name)
        return cls({route: frozenset(texts) for route, texts in names.items()})

    def __getitem__(self, name: str) -> Route:
        """Look through the sets: there are as many as models."""
        for route, names in self.by_route.items():
            if name in names:
                return route
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        """Go through all names, in no order."""
        return chain.from_iterable(self.by_route.values())

    def __len__(self) -> int:
        """Count the names."""
        return sum(map(len, self.by_route.values()))

    def __eq__(self, other: object) -> bool:
        """Compare; sets that are the same object are not looked at."""
        if isinstance(other, Routes):
            return self.by_route == other.by_route
        return super().__eq__(other)

    __hash__ = None  # type: ignore[assignment]  # as of every mapping

    def __repr__(self) -> str:
        """Show the names."""
        return f"Routes.of({dict(self)!r})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocked:
    """Why a pool's requests are refused at once while it has no usable server.

    Attributes:
        error: one line.
        next_try_at: Unix time in whole seconds; 0 while the model is being tried again.
    """

    error: str
    next_try_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """HAProxy's state at one moment.

    Attributes:
        listing: the answer to /v1/models as HAProxy holds it.
        pools_per_kind: pools `lc0` to `lc<n-1>` and `px0` to `px<n-1>` exist.
        foreign: the maps hold entries that are not ours, beside or instead of `routes`.
        access: who may ask; None while nobody ever said so.
        access_foreign: the map of tenants holds what is not ours.
        blocked: main pools whose model fails to start.
        blocked_foreign: the map of those holds what is not ours.
        busy: pools, twins among them, that have requests: held, queued, running or between tries.
    """

    servers: tuple[ObservedServer, ...] = ()
    routes: Routes = field(default_factory=Routes)
    listing: str = ""
    pools_per_kind: int
    foreign: bool = False
    access: Access | None = None
    access_foreign: bool = False
    blocked: Mapping[PoolName, Blocked] = field(default_factory=dict)
    blocked_foreign: bool = False
    busy: frozenset[PoolName] = frozenset()

    def models_by_pool(self) -> dict[PoolName, ModelName]:
        """Return whose requests go to each main pool; pools without a route are left out."""
        return {route.pool: route.model for route in self.routes.by_route}


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What the bus says.

    Attributes:
        leases: those with an accepted address.
        objections: a line for each refused lease.
        models: as last known; None while none was ever heard of: every route then stays as it is.
        models_lost: the bus has no models although nobody was seen to remove them.
        tenants: None while no bus was ever reached.
        failing: models that do not come, as last known.
        connected_for_s: how long this has been whole and live; None while the bus is away.
        away_for_s: how long it has not been; 0 while it is, None if it never was.
    """

    leases: tuple[ReplicaLease, ...] = ()
    models: tuple[ModelSpec, ...] | None = None
    models_lost: bool = False
    tenants: KnownTenants | None = None
    failing: tuple[FailingModel, ...] = ()
    connected_for_s: float | None = None
    away_for_s: float | None = None
    objections: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Unplaced:
    """A model that found no pool."""

    model: ModelName
    reason: ReloadReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Desired:
    """Routing as it should be; every observed server that is not in it is to leave.

    Attributes:
        access: who may ask; None is unknown and lets nobody in.
        blocked: main pools whose model fails to start; their requests are not held.
        conflicts: names that two models claim, each with the model that lost, and tenants
            beyond the limit.
    """

    servers: tuple[Server, ...] = ()
    routes: Routes = field(default_factory=Routes)
    listing: str = ""
    access: Access | None = None
    blocked: Mapping[PoolName, Blocked] = field(default_factory=dict)
    unplaced: tuple[Unplaced, ...] = ()
    conflicts: tuple[str, ...] = ()
