"""In which names one set of routes differs from another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

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

    @property
    def count(self) -> int:
        """How many names differ."""
        return len(self.new) + len(self.moved) + len(self.gone)


def route_changes(before: Routes, after: Routes) -> RouteChanges:
    """Compare; of 100,000 names nearly all have the very route that they had."""
    differing = {text: route for text, route in after.items() if before.get(text) is not route}
    new = {text: route for text, route in differing.items() if text not in before}
    moved = {
        text: route for text, route in differing.items() if text in before and before[text] != route
    }
    has_lost = len(before) + len(new) > len(after)
    return RouteChanges(
        new=new,
        moved=moved,
        gone=tuple(text for text in before if text not in after) if has_lost else (),
    )
