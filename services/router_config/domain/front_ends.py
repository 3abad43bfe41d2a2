"""Which front ends answer for a model's names, and when a Rust front end may take requests.

A model's main pool holds each replica's main front end; its twin holds each replica's Python
application. The third field of a route says what a name may meet (`FrontEnds`):

    no replica has Rust                                  ANY, nothing is kept from the main pool
    every Rust front end answers to the name             SPLIT
    some Rust front end does not, or none has come yet   PYTHON

Invariant: a request that Rust cannot answer never meets a Rust front end. Each rule looks at what
HAProxy was *seen* to be, so it holds between any two steps, whatever HAProxy refuses:

- A Rust front end takes requests only where every route to its pool suits it, and where no request
  waits that came by a route which does not (`doubts`).
- A route is relaxed only when the Rust front ends that it was kept from were seen to drain. Until
  then those that leave count as well as those that come.
- A route leads away from servers that answer everything only once each of them has its twin.
- A model without replicas may get one with Rust, and requests are held for it until it comes. They
  are held in the twin, except those for names that its last Rust front ends answered to.

Names of a Rust front end whose lease is missing are those that were led to it last (SPLIT).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from libs.contracts.ids import ModelName
from libs.contracts.lease import FrontEnd
from libs.contracts.model_spec import FrontEndChoice
from services.router_config.domain.membership import Member
from services.router_config.domain.model import (
    Admin,
    FrontEnds,
    Known,
    Observed,
    PoolName,
    Route,
    Routes,
)
from services.router_config.domain.pairs import Pairs, is_restricted

Answered = tuple[tuple[ModelName, frozenset[str]], ...]
"""The names that all Rust front ends of a model answer to; models that are ANY are left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """Requests may wait in a main pool that came by a route which exists no more.

    Attributes:
        since: when that was found, Unix time in seconds.
        names: what they may ask for; None for anything, in a way that only Python may answer.
    """

    since: float
    names: frozenset[str] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubts:
    """What the loop carries from one look to the next.

    Attributes:
        routes: the routes at the last look; None before the first.
    """

    routes: Routes | None = None
    pools: Mapping[PoolName, Doubt] = field(default_factory=dict)

    def bar(self, pool: PoolName, member: Member) -> bool:
        """Whether a Rust front end could not answer some request that may wait in a pool."""
        doubt = self.pools.get(pool)
        if doubt is None:
            return False
        return doubt.names is None or not doubt.names <= (member.rust_names or frozenset())


def doubts(before: Doubts, observed: Observed, *, now: float, patience_s: float) -> Doubts:
    """Look again; a request waits for `patience_s` at most."""
    pools = dict(before.pools)
    for route, names in before.routes.by_route.items() if before.routes else ():
        left = observed.routes.by_route.get(route, frozenset())
        if route.front_ends is FrontEnds.PYTHON or left is names or names <= left:
            continue
        lost = None if route.front_ends is FrontEnds.ANY else names - left
        pools[route.pool] = _more_doubtful(pools.get(route.pool), lost, now)
    return Doubts(
        routes=observed.routes,
        pools={
            pool: doubt
            for pool, doubt in pools.items()
            if pool in observed.waiting and now - doubt.since < patience_s
        },
    )


def _more_doubtful(before: Doubt | None, lost: frozenset[str] | None, now: float) -> Doubt:
    had = before.names if before else frozenset[str]()
    return Doubt(since=now, names=None if had is None or lost is None else had | lost)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fronts:
    """What is to be done about front ends.

    Attributes:
        with_rust: models that have a Rust front end which takes requests or is to take some.
    """

    answered: Answered
    with_rust: frozenset[ModelName]


def fronts(
    known: Known,
    observed: Observed,
    pairs: Pairs,
    present: Iterable[Member],
    pools: Mapping[ModelName, PoolName],
) -> Fronts:
    """Decide, given the members that are wanted and the pools that models have."""
    peopled = {member.model for member in present}
    rusts = _rusts(observed, pairs, present, pools)
    words: dict[ModelName, set[frozenset[str]]] = {}
    for rust in rusts:
        words.setdefault(rust.model, set()).add(rust.names)
    taken = {pools[rust.model] for rust in rusts if rust.takes_requests}
    open_pools = _open_pools(observed, pairs) - taken
    answered = {
        model: _shared(frozenset(found))
        for model, found in words.items()
        if pools[model] not in open_pools
    }
    choices = {spec.name: spec.engine.front_end for spec in known.models or ()}
    for model in pools.keys() - peopled - words.keys():
        if _may_get_rust(choices.get(model), pools[model], observed):
            answered[model] = _split_names(model, observed)
    return Fronts(answered=tuple(sorted(answered.items())), with_rust=frozenset(words))


def _may_get_rust(choice: FrontEndChoice | None, pool: PoolName, observed: Observed) -> bool:
    """Whether a model without replicas may get one with Rust; a choice of None is unknown."""
    if choice is None:
        return is_restricted(pool, observed)
    return choice is not FrontEndChoice.PYTHON


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rust:
    """A Rust front end that takes requests or is to take some."""

    model: ModelName
    names: frozenset[str]
    takes_requests: bool


def _rusts(
    observed: Observed,
    pairs: Pairs,
    present: Iterable[Member],
    pools: Mapping[ModelName, PoolName],
) -> list[_Rust]:
    """Return those of members, and those that take requests until they are seen to drain."""
    placed = {(pools[each.model], each.name): each for each in present if each.model in pools}
    coming = [
        _Rust(
            model=member.model,
            names=_names_of(member, observed),
            takes_requests=key in pairs and pairs[key].takes_requests,
        )
        for key, member in placed.items()
        if member.front_end is FrontEnd.RUST
    ]
    models = {pool: model for model, pool in pools.items()}
    leaving = [
        models[key[0]]
        for key, pair in pairs.items()
        if key not in placed
        and key[0] in models
        and pair.takes_requests
        and pair.is_rust(within=observed)
    ]
    return coming + [
        _Rust(model=model, names=_split_names(model, observed), takes_requests=True)
        for model in leaving
    ]


def _names_of(member: Member, observed: Observed) -> frozenset[str]:
    if member.rust_names is None:
        return _split_names(member.model, observed)
    return member.rust_names


def _split_names(model: ModelName, observed: Observed) -> frozenset[str]:
    found = [
        names
        for route, names in observed.routes.by_route.items()
        if route.model == model and route.front_ends is FrontEnds.SPLIT
    ]
    return found[0] if len(found) == 1 else frozenset().union(*found)


def _open_pools(observed: Observed, pairs: Pairs) -> frozenset[PoolName]:
    """Pools that answer everything and cannot be kept from anything yet: some twin is missing."""
    routes = observed.routes.by_route
    able = {route.pool for route in routes if route.front_ends is FrontEnds.ANY}
    return frozenset(
        pool
        for (pool, _), pair in pairs.items()
        if pool in able
        and pair.takes_requests
        and (pair.twin is None or pair.twin.admin is not Admin.READY)
    )


def suits(member: Member, pool: PoolName, observed: Observed) -> bool:
    """Whether a Rust front end answers to every name that may lead to it in a pool."""
    return all(
        route.front_ends is FrontEnds.SPLIT
        and member.rust_names is not None
        and names <= member.rust_names
        for route, names in observed.routes.by_route.items()
        if route.pool == pool and route.front_ends is not FrontEnds.PYTHON
    )


def without_front_ends(routes: Routes) -> Routes:
    """Return where names lead, as if nothing were kept from anything."""
    by_route: dict[Route, frozenset[str]] = {}
    for route, names in routes.by_route.items():
        plain = Route(pool=route.pool, model=route.model)
        before = by_route.get(plain)
        by_route[plain] = names if before is None else _joined(before, names)
    return Routes(by_route)


def with_front_ends(routes: Routes, answered: Answered) -> Routes:
    """Say of each name what it may meet; sets that need no change stay the same objects."""
    by_model = dict(answered)
    by_route: dict[Route, frozenset[str]] = {}
    for route, names in routes.by_route.items():
        known = by_model.get(route.model)
        if known is None:
            by_route[route] = names
        else:
            split, python = _parted(names, known)
            for front_ends, part in ((FrontEnds.SPLIT, split), (FrontEnds.PYTHON, python)):
                at = Route(pool=route.pool, model=route.model, front_ends=front_ends)
                by_route[at] = part
    return Routes(by_route)


@lru_cache(maxsize=256)
def _shared(words: frozenset[frozenset[str]]) -> frozenset[str]:
    """Return the names that all of some sets have, each time in the same object."""
    first, *others = words
    return first.intersection(*others) if others else first


@lru_cache(maxsize=256)
def _joined(names: frozenset[str], more: frozenset[str]) -> frozenset[str]:
    """Join two sets, each time into the same object."""
    return names | more


@lru_cache(maxsize=256)
def _parted(names: frozenset[str], known: frozenset[str]) -> tuple[frozenset[str], frozenset[str]]:
    """Return the names that are known and those that are not, each time in the same objects."""
    return (names, frozenset()) if names <= known else (names & known, names - known)
