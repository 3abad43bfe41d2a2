"""Pure translation between routing and HAProxy: actions to commands, tables to observations."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, assert_never

from libs.contracts.ids import ModelName
from libs.contracts.lease import Address, Endpoint, UnixEndpoint
from libs.haproxy import commands as ha
from libs.haproxy import config as ha_config
from libs.haproxy.codec import is_word
from libs.haproxy.commands import CHECK_INTERVAL_S
from libs.haproxy.config import LISTING_KEY, MODELS_MAP, Balance, PoolConfig, route_value
from libs.haproxy.tables import ServerState, Stat
from services.router_config.domain.model import (
    SERVER_WEIGHT,
    TWIN_SUFFIX,
    Admin,
    FrontEnds,
    Health,
    ObservedServer,
    PoolKind,
    PoolName,
    Route,
    Routes,
    Server,
    ServerKey,
    ServerName,
    twin_of,
)
from services.router_config.domain.pairs import doors, seconds
from services.router_config.domain.plan import (
    Adjust,
    Drain,
    Join,
    Resume,
    Retire,
    Weigh,
)
from services.router_config.domain.route_changes import RouteChanges
from services.router_config.ports import PoolDemand

Entries = tuple[tuple[str, str], ...]

REPLACED_NAMES_MAX: Final = 5_000
"""So many names are replaced within some 20 ms, whatever differs."""

EDITS_MAX: Final = 16
"""Names that are changed one by one: among 100,000 each keeps HAProxy's thread for up to 5 ms."""

_POOL: Final = re.compile(rf"({'|'.join(PoolKind)})\d+({TWIN_SUFFIX})?")

_FRONT_ENDS: Final = {each.value: each for each in FrontEnds}

_UNIX: Final = "unix@"

SECOND_CHECK_INTERVAL_S: Final = 5
"""For a Python application beside a Rust front end, which is checked every second."""

_BALANCE: Final[Mapping[PoolKind, Balance]] = {
    PoolKind.LEAST_LOADED: Balance.LEAST_LOADED,
    PoolKind.PREFIX: Balance.PREFIX,
}
_ADMIN: Final[Mapping[ha.AdminState, Admin]] = {
    ha.AdminState.READY: Admin.READY,
    ha.AdminState.DRAIN: Admin.DRAIN,
    ha.AdminState.MAINT: Admin.MAINT,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadRoutes:
    """A map's content; `foreign`: it also holds what we never write."""

    routes: Routes
    foreign: bool


def server_commands(
    action: Join | Resume | Adjust | Weigh | Drain | Retire,
) -> tuple[ha.ServerCommand, ...]:
    """Return the commands of an action about one server, in their order."""
    match action:
        case Join(server=server, is_second=is_second, door=door):
            spec = server_spec(server, is_second=is_second, door=door)
            return (
                ha.AddServer(pool=server.key.pool, server=spec),
                *_admit(server.key),
            )
        case Resume(key=key):
            return _admit(key)
        case Adjust(server=server):
            return (ha.SetServerMaxconn(ref=_ref(server.key), maxconn=server.maxconn),)
        case Weigh(key=key, weight=weight):
            return (ha.SetServerWeight(ref=_ref(key), weight=weight),)
        case Drain(key=key):
            return (ha.SetServerState(ref=_ref(key), state=ha.AdminState.DRAIN),)
        case Retire(key=key, cut=cut):
            return _retire(_ref(key), cut=cut)
        case _:
            assert_never(action)


@lru_cache(maxsize=8192)
def server_spec(
    server: Server, *, is_second: bool = False, door: Address | None = None
) -> ha.ServerSpec:
    """Return a server as HAProxy declares it; remembered, since every change writes all of them.

    Raises:
        ValueError: its address is not known.
    """
    if server.endpoint is None:
        raise ValueError(f"the address of {server.key.name} is not known")
    return ha.ServerSpec(
        name=server.key.name,
        number=server.number,
        address=str(server.endpoint),
        weight=SERVER_WEIGHT,
        maxconn=server.maxconn,
        check_interval_s=SECOND_CHECK_INTERVAL_S if is_second else CHECK_INTERVAL_S,
        check_at=None if door is None else str(door),
    )


def pool_configs(servers: Iterable[Server], *, pools_per_kind: int) -> tuple[PoolConfig, ...]:
    """Return every pool with the servers that are in it and in its twin.

    A server whose address is not known is left out: HAProxy could not start with it.
    """
    within: dict[str, list[ha.ServerSpec]] = {}
    placed = [server for server in servers if server.endpoint is not None]
    second, at = seconds(placed), doors(placed)
    for server in placed:
        is_second = server.key in second
        spec = server_spec(server, is_second=is_second, door=at.get(server.key))
        within.setdefault(server.key.pool, []).append(spec)
    names = [(kind, f"{kind}{index}") for kind in PoolKind for index in range(pools_per_kind)]
    return tuple(
        PoolConfig(
            name=name,
            balance=_BALANCE[kind],
            servers=tuple(within.get(name, ())),
            python_servers=tuple(within.get(twin_of(PoolName(name)), ())),
        )
        for kind, name in names
    )


def route_entries(routes: Routes) -> Entries:
    """Render routes, sorted."""
    values: dict[str, str] = {}
    for route, names in routes.by_route.items():
        values.update(dict.fromkeys(names, _value(route)))
    return tuple([(name, values[name]) for name in sorted(values)])


def route_edits(changes: RouteChanges) -> tuple[ha.MapEdit, ...] | None:
    """Return the commands that change single names of the map of routes.

    None where a name cannot stand in a command; a whole map goes as a payload, which takes it.
    """
    if not all(is_word(name) for name in (*changes.new, *changes.moved, *changes.gone)):
        return None
    file = MODELS_MAP
    return (
        *(ha.AddMapEntry(file=file, key=k, value=_value(r)) for k, r in changes.new.items()),
        *(ha.SetMapEntry(file=file, key=k, value=_value(r)) for k, r in changes.moved.items()),
        *(ha.DelMapEntry(file=file, key=key) for key in changes.gone),
    )


def edited_map(text: str, before: Routes, changes: RouteChanges) -> str:
    """Change single names of a map of routes as `render_map` writes it; others keep their place."""
    for name in (*changes.moved, *changes.gone):
        line = f"{name} {_value(before[name])}\n"
        head, _, tail = f"\n{text}".partition(f"\n{line}")
        text = f"{head}\n{tail}".removeprefix("\n")
    added = {**changes.new, **changes.moved}
    return text + "".join(f"{name} {_value(route)}\n" for name, route in added.items())


def _value(route: Route) -> str:
    front_ends = ha_config.FrontEnds(route.front_ends)
    return route_value(pool=route.pool, model=route.model, front_ends=front_ends)


def listing_entries(listing: str) -> Entries:
    """Render the answer to /v1/models; none while there is nothing to say."""
    return ((LISTING_KEY, listing),) if listing else ()


def read_routes(entries: Entries) -> ReadRoutes:
    """Read a map of routes; what we would not have written is left out and counts as foreign."""
    values = dict(reversed(entries))  # of equal keys HAProxy takes the first
    names: dict[str, list[str]] = {}
    for name, value in values.items():
        names.setdefault(value, []).append(name)
    led: dict[Route, list[str]] = {}
    written = 0
    for value, found in names.items():
        route = _route(value)
        if route is not None:
            led.setdefault(route, []).extend(found)
            written += len(found) if value == _value(route) else 0
    routes = Routes({route: frozenset(found) for route, found in led.items()})
    return ReadRoutes(routes=routes, foreign=written != len(entries))


def _route(value: str) -> Route | None:
    """Read a value; an unknown third field means what HAProxy takes it for."""
    pool, _, rest = value.partition(":")
    model, _, front_ends = rest.partition(":")
    found = _FRONT_ENDS.get(front_ends, FrontEnds.PYTHON)
    if not pool or not model:
        return None
    return Route(pool=PoolName(pool), model=ModelName(model), front_ends=found)


Addresses = Mapping[ServerKey, UnixEndpoint]
"""Where servers on unix sockets are: HAProxy does not show it."""


def read_addresses(pools: str) -> dict[ServerKey, UnixEndpoint]:
    """Read the unix sockets of all servers from what `render_pools` wrote."""
    found: dict[ServerKey, UnixEndpoint] = {}
    pool = ""
    for line in pools.splitlines():
        word, *rest = line.split(maxsplit=3) or [""]
        if word == "backend" and rest:
            pool = rest[0]
        elif word == "server" and len(rest) > 1 and rest[1].startswith(_UNIX):
            found[_key(pool, rest[0])] = UnixEndpoint(path=rest[1].removeprefix(_UNIX))
    return found


class ServerTables:
    """Joins HAProxy's two tables of servers, and keeps what both rows tell as they did before."""

    def __init__(self) -> None:
        """Remember nothing."""
        self._before: dict[tuple[int, int], _Joined] = {}

    def join(
        self, states: Iterable[ServerState], stats: Iterable[Stat], addresses: Addresses
    ) -> tuple[ObservedServer, ...]:
        """Join both tables; a server that only one of them has is left for the next look.

        The edge's own backends, whose servers are fixed, are no pools.
        """
        counted = {(stat.pool, stat.server): stat for stat in stats if stat.server is not None}
        joined: dict[tuple[int, int], _Joined] = {}
        for state in states:
            stat = counted.get((state.pool, state.name))
            if stat is not None and _is_pool(state.pool):
                rows = (id(state), id(stat))
                before = self._before.get(rows)
                joined[rows] = before or (state, stat, _observed(state, stat, addresses))
        self._before = joined
        return tuple([seen for _, _, seen in joined.values()])


_Joined = tuple[ServerState, Stat, ObservedServer]
"""A server with the rows that tell of it, which stay in memory as long as it is remembered."""


def observed_servers(
    states: Iterable[ServerState], stats: Iterable[Stat], addresses: Addresses
) -> tuple[ObservedServer, ...]:
    """Join both tables once."""
    return ServerTables().join(states, stats, addresses)


@lru_cache(maxsize=8192)
def _is_pool(backend: str) -> bool:
    return _POOL.fullmatch(backend) is not None


def pool_demand(stats: Iterable[Stat], holds: Mapping[str, int] | None) -> tuple[PoolDemand, ...]:
    """Count each pool: a pool's own queue holds what has no server yet, so servers' come on top.

    `holds` are held requests by pool; None where HAProxy cannot hold any.
    """
    queued: dict[str, int] = {}
    refused: dict[str, int] = {}
    for stat in stats:
        queued[stat.pool] = queued.get(stat.pool, 0) + stat.queued
        if stat.server is None:
            refused[stat.pool] = stat.refused_count
    return tuple(
        PoolDemand(
            pool=PoolName(pool),
            queued=queued[pool],
            held=(holds or {}).get(pool, 0),
            refused_count=count,
        )
        for pool, count in refused.items()
    )


def pools_per_kind(stats: Iterable[Stat]) -> int:
    """Return how many pools of each kind there are, whatever was meant to be there."""
    found = Counter(
        stat.pool.rstrip("0123456789") for stat in stats if stat.server is None and _is_main(stat)
    )
    return min(found[kind] for kind in PoolKind)


def _is_main(stat: Stat) -> bool:
    return _is_pool(stat.pool) and not stat.pool.endswith(TWIN_SUFFIX)


def busy_pools(stats: Iterable[Stat]) -> frozenset[PoolName]:
    """Return the pools that have requests, from when one is sent there until its answer ends."""
    return frozenset(
        PoolName(stat.pool)
        for stat in stats
        if stat.server is None and stat.sessions and _is_pool(stat.pool)
    )


def _observed(state: ServerState, stat: Stat, addresses: Addresses) -> ObservedServer:
    key = _key(state.pool, state.name)
    at = None if state.host is None or state.port is None else (state.host, state.port)
    return ObservedServer(
        server=_server(key, state.number, at or addresses.get(key), stat.maxconn),
        admin=_ADMIN[state.admin],
        health=_health(state),
        checked=state.checked,
        sessions=stat.sessions,
        queued=stat.queued,
        weight=state.weight,
    )


@lru_cache(maxsize=8192)
def _key(pool: str, name: str) -> ServerKey:
    return ServerKey(pool=PoolName(pool), name=ServerName(name))


@lru_cache(maxsize=8192)
def _server(
    key: ServerKey, number: int, at: UnixEndpoint | tuple[str, int] | None, maxconn: int | None
) -> Server:
    """Build what rarely changes; remembered, because every look shows the same servers."""
    return Server(
        key=key,
        number=number,
        endpoint=Endpoint(host=at[0], port=at[1]) if isinstance(at, tuple) else at,
        maxconn=maxconn or 0,
    )


def _health(state: ServerState) -> Health:
    if state.up is None:
        return Health.UNKNOWN
    return Health.UP if state.up else Health.DOWN


def _admit(key: ServerKey) -> tuple[ha.ServerCommand, ...]:
    ref = _ref(key)
    return (
        ha.EnableHealth(ref=ref),
        ha.SetServerState(ref=ref, state=ha.AdminState.READY),
    )


def _retire(ref: ha.ServerRef, *, cut: bool) -> tuple[ha.ServerCommand, ...]:
    maint = ha.SetServerState(ref=ref, state=ha.AdminState.MAINT)
    if cut:
        return (maint, ha.ShutdownSessions(ref=ref), ha.DelServer(ref=ref))
    return (maint, ha.DelServer(ref=ref))


def _ref(key: ServerKey) -> ha.ServerRef:
    return ha.ServerRef(pool=key.pool, name=key.name)
