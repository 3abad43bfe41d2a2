"""Which adapters are routed: those that every replica of their model's pool can answer for.

HAProxy chooses the replica, so a name that one replica of the pool lacks would be a 404 for some
requests and an answer for others. The rule, for an adapter that is declared:

    routed  =  no member says that it lacks it
               and (every member's word is known, or it is routed already)

- A replica that could not load an adapter takes its name from the whole pool: it serves everything
  else, and `status` says why. What is declared and not routed is a 404 everywhere.
- A member without a lease is unknown, not without adapters: an emptied bus changes no route.
- A pool without members is asked nothing and lacks nothing: the name is routed as its model's is,
  and whoever comes is ready only with its adapters.
- An adapter that is no longer declared is not routed, whoever still has it loaded.
"""

from __future__ import annotations

from collections.abc import Iterable

from libs.contracts.ids import ModelName
from libs.contracts.model_spec import ModelSpec
from services.router_config.domain.membership import Member
from services.router_config.domain.model import Routes

Servable = tuple[tuple[ModelName, tuple[str, ...]], ...]
"""Names of adapters by model, sorted; models without one are left out."""


def servable(specs: Iterable[ModelSpec], present: Iterable[Member], routes: Routes) -> Servable:
    """Return the adapters to route, given the members and the routes that there are."""
    asked = {spec.name: spec for spec in specs if spec.adapters}
    words: dict[ModelName, list[frozenset[str] | None]] = {name: [] for name in asked}
    for member in present:
        if member.model in asked:
            words[member.model].append(member.adapters)
    found = {name: _servable(spec, words[name], routes) for name, spec in asked.items()}
    return tuple((name, found[name]) for name in sorted(found) if found[name])


def _servable(
    spec: ModelSpec, words: list[frozenset[str] | None], routes: Routes
) -> tuple[str, ...]:
    known = [word for word in words if word is not None]
    names = sorted(adapter.name for adapter in spec.adapters)
    held = [name for name in names if all(name in word for word in known)]
    if len(known) == len(words):
        return tuple(held)
    return tuple(name for name in held if _is_routed(name, spec.name, routes))


def _is_routed(name: str, model: ModelName, routes: Routes) -> bool:
    route = routes.get(name)
    return route is not None and route.model == model
