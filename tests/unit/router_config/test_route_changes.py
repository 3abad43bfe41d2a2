"""Which names differ between two sets of routes.

- What changed, applied to what was before, gives what is after.
- More names than asked for are no few changes.
- Routes are the mapping that they were made of, in any order.
"""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from libs.contracts.ids import ModelName
from services.router_config.domain.model import PoolName, Route, Routes
from services.router_config.domain.route_changes import RouteChanges, route_changes

flat_routes = st.dictionaries(
    st.sampled_from(["a", "b", "c", "d", "e"]),
    st.builds(
        Route,
        pool=st.sampled_from(["lc0", "px0"]).map(PoolName),
        model=st.sampled_from(["a", "b"]).map(ModelName),
    ),
)
EVERY_NAME = 5


def applied(before: Mapping[str, Route], changes: RouteChanges) -> dict[str, Route]:
    """Do what the changes say, one after the other, as a map would."""
    found = dict(before)
    for name, route in changes.new.items():
        assert name not in found
        found[name] = route
    for name, route in changes.moved.items():
        assert found[name] != route
        found[name] = route
    for name in changes.gone:
        del found[name]
    return found


@given(flat_routes, flat_routes)
def test_changes_lead_from_the_one_to_the_other(
    before: dict[str, Route], after: dict[str, Route]
) -> None:
    """New names are new, moved ones were elsewhere, gone ones were there."""
    changes = route_changes(Routes.of(before), Routes.of(after), at_most=EVERY_NAME)

    assert changes is not None
    assert applied(before, changes) == after


@given(flat_routes, flat_routes, st.integers(0, EVERY_NAME))
def test_more_names_than_asked_for_are_no_few_changes(
    before: dict[str, Route], after: dict[str, Route], at_most: int
) -> None:
    """A name counts once, wherever it went; between equals nothing changes."""
    differing = {n for n in before.keys() | after.keys() if before.get(n) != after.get(n)}

    changes = route_changes(Routes.of(before), Routes.of(after), at_most=at_most)

    assert (changes is None) == (len(differing) > at_most)


@given(flat_routes, flat_routes)
def test_routes_are_the_mapping_that_they_were_made_of(
    one: dict[str, Route], other: dict[str, Route]
) -> None:
    """Whatever the order; and equal to another when their names lead to the same."""
    routes = Routes.of(one)

    assert dict(routes) == one
    assert len(routes) == len(one)
    assert (routes == Routes.of(other)) == (one == other)
    assert routes == Routes.of(dict(reversed(one.items())))
    assert routes == one
