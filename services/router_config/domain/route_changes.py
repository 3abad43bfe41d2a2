"""In which names one set of routes differs from another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from services.router_config.domain.model import Route, Routes


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteChanges:
    """What leads from one set of routes to another.

    Attributes:
        new: names that had no route.
        moved: names that had another one.
        gone: names that have none any more.
    """

    new: Mapping[str, Route]
    moved: Mapping[str, Route]
    gone: tuple[str, ...]


def route_changes(before: Routes, after: Routes, *, at_most: int) -> RouteChanges | None:
    """Return what differs; None where that is more than `at_most` names."""
    led = dict(islice(_only_in(after, before), at_most + 1))
    left = dict(islice(_only_in(before, after), at_most + 1))
    if len(led.keys() | left.keys()) > at_most:
        return None
    return RouteChanges(
        new={name: route for name, route in led.items() if name not in left},
        moved={name: route for name, route in led.items() if name in left},
        gone=tuple(name for name in left if name not in led),
    )


def _only_in(these: Routes, those: Routes) -> Iterator[tuple[str, Route]]:
    """Give the names of `these` that do not lead to the same route in `those`."""
    for route, names in these.by_route.items():
        others = those.by_route.get(route, frozenset())
        if names is not others:
            yield from ((name, route) for name in names - others)
