"""What counts as drift: differences that nobody asked for, each once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from services.router_config.domain.drift import DriftKind, Left, drift, leave
from services.router_config.domain.model import (
    Admin,
    Desired,
    Observed,
    ObservedServer,
    ServerKey,
)
from services.router_config.domain.plan import Action, Drain, Publish, plan

Seen = Callable[..., ObservedServer]
Edge = Callable[..., Observed]


def wanted(observed: Observed) -> Desired:
    """Return a state of which nothing differs from what is observed."""
    return Desired(
        servers=tuple(seen.server for seen in observed.servers),
        routes=observed.routes,
        listing=observed.listing,
        access=observed.access,
    )


def planned(desired: Desired, observed: Observed) -> tuple[Action, ...]:
    """Return the steps from what is observed to what is wanted."""
    return plan(desired, observed, leaving_since={}, now=1.0, drain_timeout_s=9.0).actions


def found(left: Left | None, observed: Observed, desired: Desired) -> dict[DriftKind, int]:
    """Look for drift as the loop does."""
    return drift(left, observed, desired=desired, actions=planned(desired, observed))


def test_an_edge_as_it_was_left_has_not_drifted(seen: Seen, an_edge: Edge) -> None:
    """Nor does the first look say anything: nobody knows how it was left."""
    edge = an_edge(seen("r1.aa"), routes={"m": ("lc0", "m")})
    desired = wanted(edge)

    assert found(Left(desired=desired), edge, desired) == {}
    assert found(None, an_edge(), desired) == {}


def test_servers_that_vanish_change_or_appear_have_drifted(seen: Seen, an_edge: Edge) -> None:
    """One difference for each server, however many commands it takes."""
    gone, changed, stays = seen("r1.aa"), seen("r2.aa"), seen("r3.aa")
    desired = wanted(an_edge(gone, changed, stays))
    resized = replace(changed.server, maxconn=1)
    edge = an_edge(replace(changed, server=resized, admin=Admin.MAINT), stays, seen("stranger.aa"))

    assert found(Left(desired=desired), edge, desired) == {DriftKind.SERVER: 3}


def test_maps_that_change_have_drifted(an_edge: Edge) -> None:
    """All entries of a map together are one difference."""
    desired = wanted(an_edge(routes={"m": ("lc0", "m"), "n": ("lc1", "n")}))

    assert found(Left(desired=desired), an_edge(), desired) == {DriftKind.ROUTES: 1}


def test_a_change_of_what_is_wanted_is_no_drift(seen: Seen, an_edge: Edge) -> None:
    """The edge is still as it was left."""
    edge = an_edge(seen("r1.aa"), routes={"m": ("lc0", "m")})
    wants_more = replace(wanted(edge), servers=(*wanted(edge).servers, seen("r2.aa").server))

    assert planned(wants_more, edge)
    assert found(Left(desired=wanted(edge)), edge, wants_more) == {}


def test_drift_beside_a_change_of_what_is_wanted_is_seen(seen: Seen, an_edge: Edge) -> None:
    """It is measured against what was wanted before."""
    before = wanted(an_edge(seen("r1.aa"), seen("r2.aa")))
    edge = an_edge(seen("r1.aa"))
    wants_less = replace(before, servers=before.servers[:1])

    assert planned(wants_less, edge) == ()
    assert found(Left(desired=before), edge, wants_less) == {DriftKind.SERVER: 1}


def test_what_was_not_done_yet_is_no_drift(seen: Seen, an_edge: Edge) -> None:
    """Neither a refused action, nor a server on its way out."""
    leaving, refused = seen("r1.aa", admin=Admin.DRAIN), seen("r2.aa")
    edge = an_edge(leaving)
    desired = Desired(servers=(refused.server,))
    actions = planned(desired, edge)
    assert actions

    left = leave(desired, ((each, False) for each in actions), leaving={leaving.server.key})

    assert found(left, edge, desired) == {}


def test_an_undone_map_hides_no_drift_of_servers(seen: Seen, an_edge: Edge) -> None:
    """Each subject settles by itself."""
    one = seen("r1.aa")
    edge = an_edge(one)
    desired = replace(wanted(an_edge(one, routes={"m": ("lc0", "m")})))
    publish = Publish(routes=desired.routes, listing=desired.listing)
    left = leave(desired, [(publish, False)], leaving=())

    assert found(left, edge, desired) == {}
    assert found(left, an_edge(), desired) == {DriftKind.SERVER: 1}


def test_a_done_action_leaves_its_server_settled(seen: Seen, an_edge: Edge) -> None:
    """What happens to it afterwards is drift."""
    one = seen("r1.aa")
    desired = wanted(an_edge(one))
    key: ServerKey = one.server.key

    left = leave(desired, [(Drain(key=key), True)], leaving=())

    assert found(left, an_edge(), desired) == {DriftKind.SERVER: 1}
