"""Which front ends serve a model's names, and when a Rust front end may take requests.

A model's twin pool holds the Python application of every replica and never a Rust front end. Its
main pool is used only where some replica has Rust; it then holds every replica's main front end.
The third field of a route says where requests go (`FrontEnds`): PYTHON to the twin, SPLIT to the
main pool if the table of paths and body fields allows it, and else to the twin.

Invariant: a request that Rust cannot answer never meets a Rust front end. HAProxy retries a request
within the pool that it chose, so what is in the main pool counts until it has ended. It came by a
name that was SPLIT, and a Rust front end may not know that name. Each rule depends on the
state last *seen* in HAProxy, so it holds between any two steps, even when HAProxy refuses some:

- A Rust front end joins the main pool only if it knows every name that is SPLIT there.
- If none is SPLIT, the main pool must have no requests: they came by names that were SPLIT before.
- A name becomes SPLIT only if every Rust front end knows it that takes requests or is to take some;
  the first ones only when each replica has its server in the main pool.
- Names stop being SPLIT all at once, and only when each server in the main pool has its twin. That
  happens when the last Rust front end has left, or when one has come that does not know them all.
  Python servers stay in the main pool until it has no requests.
- A model without replicas keeps its names as they are; PYTHON names wait in the twin, where any
  replica can answer them.

A name that is no longer the model's is exempt: its requests get 404 from the edge as well.
Names of a Rust front end whose lease is missing are those that were SPLIT last.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from libs.contracts.ids import ModelName
from libs.contracts.lease import FrontEnd
from services.router_config.domain.membership import Member
from services.router_config.domain.model import (
    Admin,
    FrontEnds,
    Observed,
    PoolName,
    Route,
    Routes,
)
from services.router_config.domain.pairs import Pair, Pairs

_NONE: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fronts:
    """What is to be done about front ends.

    Attributes:
        split: the names that are to be SPLIT, by model.
        with_rust: models that have a Rust front end which takes requests or is to take some.
    """

    split: Mapping[ModelName, frozenset[str]]
    with_rust: frozenset[ModelName]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What HAProxy is, who is a member, and which pools and names models are to have.

    Attributes:
        split_now: the names that are SPLIT in each main pool; pools without one are left out.
    """

    observed: Observed
    pairs: Pairs
    present: tuple[Member, ...]
    pools: Mapping[ModelName, PoolName]
    routes: Routes
    split_now: Mapping[PoolName, frozenset[str]]


def split_names(routes: Routes) -> dict[PoolName, frozenset[str]]:
    """Return the names whose requests may go to each main pool."""
    found: dict[PoolName, frozenset[str]] = {}
    for route, names in routes.by_route.items():
        if route.front_ends is FrontEnds.SPLIT:
            before = found.get(route.pool)
            found[route.pool] = names if before is None else _joined(before, names)
    return found


def fronts(scene: Scene) -> Fronts:
    """Decide which names are SPLIT."""
    known: dict[ModelName, set[frozenset[str]]] = {}
    for model, names in (*_staying(scene), *_leaving(scene)):
        known.setdefault(model, set()).add(names)
    members: dict[ModelName, list[Member]] = {}
    for member in scene.present:
        members.setdefault(member.model, []).append(member)
    exposed = _without_twins(scene.pairs)
    split = {
        model: _split(
            scene,
            model,
            known=known.get(model, set()),
            members=members.get(model, []),
            exposed=exposed,
        )
        for model in scene.pools
    }
    return Fronts(
        split={model: names for model, names in split.items() if names},
        with_rust=frozenset(known),
    )


def may_take_requests(member: Member, pool: PoolName, pair: Pair, scene: Scene) -> bool:
    """Whether a Rust front end takes requests, or could answer all that it may meet."""
    if pair.takes_requests:
        return True
    split = scene.split_now.get(pool, _NONE)
    if member.rust_names is None or (not split and pool in scene.observed.busy):
        return False
    return split <= member.rust_names


def _split(
    scene: Scene,
    model: ModelName,
    *,
    known: set[frozenset[str]],
    members: list[Member],
    exposed: frozenset[PoolName],
) -> frozenset[str]:
    """Return the names of a model that are to be SPLIT.

    `known` are those that each Rust front end knows; in `exposed` pools some twin is missing.
    """
    pool = scene.pools[model]
    wanted = scene.routes.by_route.get(Route(pool=pool, model=model), _NONE)
    current, _ = _parted(scene.split_now.get(pool, _NONE), wanted)
    if known:
        shared = _shared(frozenset(known))
        _, unknown = _parted(current, shared)
        if current and not unknown:
            return shared
        if not current:
            return shared if _is_prepared(scene.pairs, pool, members) else _NONE
    return _NONE if members and pool not in exposed else current


def _is_prepared(pairs: Pairs, pool: PoolName, members: Iterable[Member]) -> bool:
    """Whether each member has a server that takes requests in a main pool."""
    found = (pairs.get((pool, member.name)) for member in members)
    return all(pair is not None and pair.takes_requests for pair in found)


def _without_twins(pairs: Pairs) -> frozenset[PoolName]:
    """Return the main pools of which some server has no twin that takes requests."""
    return frozenset(
        pool
        for (pool, _), pair in pairs.items()
        if pair.takes_requests and (pair.twin is None or pair.twin.admin is not Admin.READY)
    )


_Known = tuple[ModelName, frozenset[str]]
"""What one Rust front end knows."""


def _staying(scene: Scene) -> list[_Known]:
    """Return the Rust front ends of members."""
    return [
        (member.model, _names_of(member, scene))
        for member in scene.present
        if member.front_end is FrontEnd.RUST and member.model in scene.pools
    ]


def _leaving(scene: Scene) -> list[_Known]:
    """Return the Rust front ends that leave, until they are seen to drain."""
    placed = {(scene.pools.get(member.model), member.name) for member in scene.present}
    models = {pool: model for model, pool in scene.pools.items()}
    return [
        (models[pool], scene.split_now.get(pool, _NONE))
        for (pool, name), pair in scene.pairs.items()
        if (pool, name) not in placed and pool in models and pair.takes_requests and pair.is_rust
    ]


def _names_of(member: Member, scene: Scene) -> frozenset[str]:
    if member.rust_names is None:
        return scene.split_now.get(scene.pools[member.model], _NONE)
    return member.rust_names


def without_front_ends(routes: Routes) -> Routes:
    """Return where names lead, as if there were one kind of front end."""
    by_route: dict[Route, frozenset[str]] = {}
    for route, names in routes.by_route.items():
        plain = Route(pool=route.pool, model=route.model)
        before = by_route.get(plain)
        by_route[plain] = names if before is None else _joined(before, names)
    return Routes(by_route)


def with_front_ends(routes: Routes, split: Mapping[ModelName, frozenset[str]]) -> Routes:
    """Say of each name which front ends serve it; sets that need no change stay the same."""
    by_route: dict[Route, frozenset[str]] = {}
    for route, names in routes.by_route.items():
        parts = _parted(names, split.get(route.model, _NONE))
        for front_ends, part in zip((FrontEnds.SPLIT, FrontEnds.PYTHON), parts, strict=True):
            at = Route(pool=route.pool, model=route.model, front_ends=front_ends)
            by_route[at] = part
    return Routes(by_route)


@lru_cache(maxsize=256)
def _shared(known: frozenset[frozenset[str]]) -> frozenset[str]:
    """Return the names that all of some sets have, each time in the same object."""
    first, *others = known
    return first.intersection(*others) if others else first


@lru_cache(maxsize=256)
def _joined(names: frozenset[str], more: frozenset[str]) -> frozenset[str]:
    """Join two sets, each time into the same object."""
    return names | more


@lru_cache(maxsize=256)
def _parted(names: frozenset[str], known: frozenset[str]) -> tuple[frozenset[str], frozenset[str]]:
    """Return the names that are known and those that are not, each time in the same objects."""
    if not known:
        return (_NONE, names)
    return (names, _NONE) if names <= known else (names & known, names - known)
