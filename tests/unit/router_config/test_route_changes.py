"""Which names differ between two sets of routes.

- What changed, applied to what was before, gives what is after.
- Nothing changed when, and only when, both are equal.
"""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from libs.contracts.ids import ModelName
from services.router_config.domain.model import PoolName, Route
from services.router_config.domain.route_changes import RouteChanges, route_changes

routes = st.dictionaries(
    st.sampled_from(["a", "b", "c", "d", "e"]),
    st.builds(
        Route,
        pool=st.sampled_from(["lc0", "px0"]).map(PoolName),
        model=st.sampled_from(["a", "b"]).map(ModelName),
    ),
)


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


@given(routes, routes)
def test_changes_lead_from_the_one_to_the_other(
    before: dict[str, Route], after: dict[str, Route]
) -> None:
    """New names are new, moved ones were elsewhere, gone ones were there."""
    assert applied(before, route_changes(before, after)) == after


@given(routes, routes)
def test_nothing_changes_between_equals_only(
    before: dict[str, Route], after: dict[str, Route]
) -> None:
    """Also where equal routes are not one object."""
    assert (route_changes(before, after).count == 0) == (before == after)
