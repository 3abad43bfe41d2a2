"""What routing should be: pools for models, servers for members, routes for names.

Theory:
- A model keeps its pool for as long as it is routed; a new one takes the free pool with the
  lowest number. A pool is free when no route leads to it and neither it nor its twin has a server
  or a request: one that is held would get the next model's replica.
- Names come before aliases, aliases before adapters, and among equals the model that sorts first
  wins. An adapter that is not routed (see `adapters.py`) still holds its name against others.
- A model that is no longer declared stays routed, with all its aliases, while it has members.
- A member has a server for its Python application in the twin of its model's pool and, where some
  member has a Rust front end, one of the same name and number for its main front end in the pool
  itself; `front_ends.py` has the rules.
- Nothing depends on the order of the inputs.
"""

from __future__ import annotations

import hashlib
import heapq
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Final

from libs.contracts.ids import ModelName
from libs.contracts.lease import Address, FrontEnd
from libs.contracts.model_spec import ModelSpec
from services.router_config.domain.access import decide_access, refused_tenants
from services.router_config.domain.adapters import Servable, servable
from services.router_config.domain.blocked import blocked_pools
from services.router_config.domain.contention import Contention
from services.router_config.domain.front_ends import (
    Fronts,
    Scene,
    fronts,
    may_take_requests,
    split_names,
    with_front_ends,
    without_front_ends,
)
from services.router_config.domain.membership import Member, members
from services.router_config.domain.model import (
    KIND_OF_POLICY,
    Desired,
    Known,
    Observed,
    ObservedServer,
    PoolKind,
    PoolName,
    ReloadReason,
    Route,
    Routes,
    Server,
    ServerKey,
    Unplaced,
    main_of,
    twin_of,
)
from services.router_config.domain.pairs import Pair, Pairs, pair_up

LISTING_BYTES_MAX: Final = 30_000
"""It goes to HAProxy in one command and out of one buffer; what does not fit is not listed."""

_LISTED_MAX: Final = LISTING_BYTES_MAX // 64
"""More names than fit: a card is longer than that."""

_NUMBER_MAX: Final = 2_000_000_000

_CONTENTION: Final = Contention()
_UNSEEN: Final = Pair(main=None, twin=None)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Naming:
    """Which route each name has, and the claims that lost; itself a key of what is remembered.

    Attributes:
        adapters: which of the names are adapters' own.
    """

    routes: Routes
    conflicts: tuple[str, ...]
    adapters: frozenset[str] = frozenset()


def desire(known: Known, observed: Observed, *, grace_s: float) -> Desired:
    """Return what HAProxy should be, given what the bus says and what HAProxy is."""
    pairs = pair_up(observed.servers)
    present = members(known, observed, pairs, grace_s=grace_s)
    kinds = _kinds(known, observed, present)
    with_members = _pools_with_members(present, pairs)
    used = {*(pool for pool, _ in pairs), *map(main_of, observed.busy)}
    pools = _assign(kinds, observed, with_members, used=used)
    able = servable(known.models or (), present, observed.routes)
    naming = _naming(known, observed, pools, able)
    scene = Scene(
        observed=observed,
        pairs=pairs,
        present=present,
        pools=pools,
        routes=naming.routes,
        split_now=split_names(observed.routes),
    )
    fronted = fronts(scene)
    return Desired(
        servers=_servers(scene, fronted),
        routes=with_front_ends(naming.routes, fronted.split),
        listing=_listing_of(naming),
        access=decide_access(known.tenants, observed.access),
        blocked=blocked_pools(known.failing, pools),
        unplaced=tuple(
            Unplaced(model=model, reason=ReloadReason.POOLS_EXHAUSTED)
            for model in sorted(kinds.keys() - pools.keys())
        ),
        conflicts=(
            *naming.conflicts,
            *(f"tenant {name}: no room" for name in refused_tenants(known.tenants)),
        ),
    )


def listing(routes: Routes, adapters: frozenset[str] = frozenset()) -> str:
    """Render the answer to /v1/models: every model, then every other name, each by name.

    An alias has its model as root; an adapter is its own root and has its model as parent.
    """
    own = sorted(route.model for route, names in routes.by_route.items() if route.model in names)
    first = sorted(chain.from_iterable(map(_first, routes.by_route.values())))
    names = dict.fromkeys([*own, *first[: _LISTED_MAX + len(own)]])
    head, tail = '{"object":"list","data":[', "]}"
    cards: list[str] = []
    size = len(head) + len(tail)
    for name in names:
        card = _card(name, routes[name].model, is_adapter=name in adapters)
        size += len(card.encode()) + 1
        if size > LISTING_BYTES_MAX:
            break
        cards.append(card)
    return head + ",".join(cards) + tail


def stable_number(replica: str, *, salt: int = 0) -> int:
    """Return a server's place on the hash ring: the same on every edge and after every start."""
    text = f"{replica}#{salt}" if salt else replica
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return 1 + int.from_bytes(digest, "big") % _NUMBER_MAX


def _card(name: str, model: ModelName, *, is_adapter: bool) -> str:
    fields = {"id": name, "object": "model", "created": 0, "owned_by": "sluice"}
    kin = {"root": name, "parent": model} if is_adapter else {"root": model}
    return json.dumps({**fields, **kin}, separators=(",", ":"))


def _kinds(
    known: Known, observed: Observed, present: Iterable[Member]
) -> dict[ModelName, PoolKind]:
    """Which models need a pool, and of which kind."""
    kinds: dict[ModelName, PoolKind] = {}
    kept = {r.model for r in observed.routes.by_route} if known.models is None else set()
    for model in {*(member.model for member in present), *kept}:
        kinds[model] = _kind_now(model, observed) or PoolKind.LEAST_LOADED
    for spec in known.models or ():
        kinds[spec.name] = KIND_OF_POLICY[spec.routing.policy]
    return kinds


def _kind_now(model: ModelName, observed: Observed) -> PoolKind | None:
    pool = _pool_now(model, observed)
    return PoolKind(pool[:2]) if pool else None


def _pool_now(model: ModelName, observed: Observed) -> PoolName | None:
    """Return the pool of a model, by its own name or else by any of its aliases."""
    route = observed.routes.get(model)
    if route is not None and route.model == model:
        return route.pool
    pools = (route.pool for route in observed.routes.by_route if route.model == model)
    return min(pools, default=None)


def _pools_with_members(present: Iterable[Member], pairs: Pairs) -> Mapping[ModelName, PoolName]:
    """Where a model's replicas are: what is left to know of its pool when its routes are lost."""
    models = {member.name: member.model for member in present}
    found = sorted({(pool, models[name]) for pool, name in pairs if name in models})
    return {model: pool for pool, model in reversed(found)}


def _assign(
    kinds: Mapping[ModelName, PoolKind],
    observed: Observed,
    with_members: Mapping[ModelName, PoolName],
    *,
    used: Collection[PoolName],
) -> dict[ModelName, PoolName]:
    every = {kind: _pools(kind, observed.pools_per_kind) for kind in PoolKind}
    assigned: dict[ModelName, PoolName] = {}
    for model in sorted(kinds):
        pool = _pool_now(model, observed)
        if pool in every[kinds[model]] and pool not in assigned.values():
            assigned[model] = pool
    routed = {route.pool for route in observed.routes.by_route}
    for model in sorted(kinds.keys() - assigned.keys()):
        pool = with_members.get(model)
        if pool in every[kinds[model]] and pool not in routed | set(assigned.values()):
            assigned[model] = pool
    taken = {*routed, *used, *assigned.values()}
    free = {kind: [pool for pool in every[kind] if pool not in taken] for kind in PoolKind}
    for model in sorted(kinds.keys() - assigned.keys()):
        if free[kinds[model]]:
            assigned[model] = free[kinds[model]].pop(0)
    return assigned


def _pools(kind: PoolKind, count: int) -> list[PoolName]:
    return [PoolName(f"{kind}{index}") for index in range(count)]


def _servers(scene: Scene, fronted: Fronts) -> tuple[Server, ...]:
    numbers: dict[PoolName, set[int]] = {}
    servers: list[Server] = []
    for member in scene.present:
        pool = scene.pools.get(member.model)
        if pool is None:
            continue
        pair = scene.pairs.get((pool, member.name), _UNSEEN)
        number = pair.number
        if number is None:
            numbers = numbers or _taken_numbers(scene.observed)
            number = _free_number(member, numbers.setdefault(pool, set()))
            numbers[pool].add(number)
        if _is_in_main(member, pool, pair, scene=scene, fronted=fronted):
            servers += _server(member, pool, member.endpoint, pair.main, number=number)
        servers += _server(member, twin_of(pool), member.python, pair.twin, number=number)
    return tuple(servers)


def _taken_numbers(observed: Observed) -> dict[PoolName, set[int]]:
    """Return the numbers that a pool and its twin have, by main pool."""
    numbers: dict[PoolName, set[int]] = {}
    for seen in observed.servers:
        numbers.setdefault(main_of(seen.server.key.pool), set()).add(seen.server.number)
    return numbers


def _is_in_main(
    member: Member, pool: PoolName, pair: Pair, *, scene: Scene, fronted: Fronts
) -> bool:
    """A main pool is used where some replica has Rust, and until it has no requests."""
    if member.front_end is FrontEnd.RUST:
        return may_take_requests(member, pool, pair, scene)
    if member.model in fronted.with_rust or pool in scene.split_now:
        return True
    return pair.takes_requests and pool in scene.observed.busy


def _server(
    member: Member,
    pool: PoolName,
    endpoint: Address | None,
    present: ObservedServer | None,
    *,
    number: int,
) -> Iterable[Server]:
    """Give a member's server: the very object that was seen where nothing differs.

    None where the address is not known and HAProxy has no such server either.
    """
    is_known = endpoint is not None
    seen = present.server if present else None
    if (
        seen is not None
        and (seen.maxconn, seen.number) == (member.maxconn, number)
        and (not is_known or seen.endpoint == endpoint)
    ):
        yield seen
    elif is_known or seen is not None:
        yield Server(
            key=ServerKey(pool=pool, name=member.name),
            number=number,
            endpoint=endpoint,
            maxconn=member.maxconn,
        )


def _free_number(member: Member, taken: set[int]) -> int:
    """Return the replica's own number, or one beside it while an older incarnation holds that."""
    replica = member.name.rpartition(".")[0]
    salt = 0
    while (number := stable_number(replica, salt=salt)) in taken:
        salt += 1
    return number


def _naming(
    known: Known, observed: Observed, pools: Mapping[ModelName, PoolName], able: Servable
) -> _Naming:
    """Names first, then what declared models call theirs, then what undeclared models had."""
    placed = tuple(sorted(pools.items()))
    declared = _declared_naming(tuple(sorted(known.models or (), key=_name)), placed, able)
    strangers = pools.keys() - {spec.name for spec in known.models or ()}
    if not strangers:
        return declared
    by_route = dict(declared.routes.by_route)
    lost: list[str] = []
    for route, names in without_front_ends(observed.routes).by_route.items():
        if route.model in strangers:
            mine = Route(pool=pools[route.model], model=route.model)
            taken = _taken(names, declared.routes, mine=mine)
            lost.extend(f"{text}:{route.model}" for text in taken)
            by_route[mine] = _joined(names - taken if taken else names, by_route.get(mine))
    return _Naming(
        routes=Routes(by_route),
        conflicts=(*declared.conflicts, *sorted(lost)),
        adapters=declared.adapters,
    )


def _taken(names: frozenset[str], by: Routes, *, mine: Route) -> frozenset[str]:
    """Return the names that lead elsewhere by now."""
    others = (theirs for route, theirs in by.by_route.items() if route != mine)
    return frozenset().union(*(names & theirs for theirs in others))


def _joined(names: frozenset[str], more: frozenset[str] | None) -> frozenset[str]:
    """Join two sets; the first one itself where it holds the other."""
    return names if more is None or more <= names else names | more


@lru_cache(maxsize=4)
def _declared_naming(
    models: tuple[ModelSpec, ...],
    placed: tuple[tuple[ModelName, PoolName], ...],
    able: Servable,
) -> _Naming:
    """Name what is declared; remembered, because it changes far less often than replicas do."""
    routes = {model: Route(pool=pool, model=model) for model, pool in placed}
    here = [spec for spec in models if spec.name in routes]
    claims: dict[str, frozenset[str]] = {model: frozenset((model,)) for model in routes}
    claims |= {spec.name: _claims(spec.name, spec.aliases, _adapters(spec)) for spec in here}
    if _CONTENTION.is_in(claims):
        return _contended_naming(routes, here, able)
    held = dict(able)
    mute = {spec.name: {*_adapters(spec)}.difference(held.get(spec.name, ())) for spec in here}
    names = {
        route: claims[model] - mute[model] if mute.get(model) else claims[model]
        for model, route in routes.items()
    }
    adapters = chain.from_iterable(held.get(spec.name, ()) for spec in here)
    return _Naming(routes=Routes(names), conflicts=(), adapters=frozenset(adapters))


def _contended_naming(
    own: Mapping[ModelName, Route], here: Iterable[ModelSpec], able: Servable
) -> _Naming:
    """Name what is declared where two models claim a name."""
    routes: dict[str, Route] = {str(model): route for model, route in own.items()}
    lost: list[str] = []
    for spec in here:
        lost += _claim(routes, own[spec.name], spec.aliases)
    adapters: dict[str, Route] = {}
    for spec in here:
        names = {*_adapters(spec)}
        lost += [f"{name}:{spec.name}" for name in sorted(names & routes.keys())]
        lost += _claim(adapters, own[spec.name], names - routes.keys())
    held = {(text, model) for model, texts in able for text in texts}
    routed = {text: route for text, route in adapters.items() if (text, route.model) in held}
    return _Naming(
        routes=Routes.of({**routes, **routed}),
        conflicts=tuple(lost),
        adapters=frozenset(routed),
    )


def _claim(routes: dict[str, Route], mine: Route, texts: Iterable[str]) -> list[str]:
    """Give a model the names that it claims and nobody has; return the claims that lost."""
    taken = [text for text in sorted(texts) if routes.setdefault(text, mine) != mine]
    return [f"{text}:{mine.model}" for text in taken]


@lru_cache(maxsize=4096)
def _claims(own: str, aliases: tuple[str, ...], adapters: tuple[str, ...]) -> frozenset[str]:
    """Collect a model's names, each time in the same object: nobody has to look at them again."""
    return frozenset((own, *aliases, *adapters))


def _adapters(spec: ModelSpec) -> tuple[str, ...]:
    return tuple(each.name for each in spec.adapters)


@lru_cache(maxsize=4096)
def _first(names: frozenset[str]) -> tuple[str, ...]:
    """Return as many names as may be listed, and a model's own, sorted."""
    return tuple(heapq.nsmallest(_LISTED_MAX + 1, names))


@lru_cache(maxsize=4)
def _listing_of(naming: _Naming) -> str:
    return listing(naming.routes, naming.adapters)


def _name(spec: ModelSpec) -> ModelName:
    return spec.name
