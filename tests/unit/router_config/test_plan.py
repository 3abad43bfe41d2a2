"""The steps from what is to what should be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from libs.contracts.lease import Endpoint
from services.router_config.domain.access import KeysOnly, Open
from services.router_config.domain.model import (
    Admin,
    Desired,
    Observed,
    ObservedServer,
    ReloadReason,
    Routes,
    ServerKey,
    Unplaced,
)
from services.router_config.domain.plan import (
    POOLS_PER_KIND_MAX,
    Adjust,
    Admit,
    Drain,
    Join,
    Publish,
    Resume,
    Retire,
    RoutingPlan,
    plan,
)

Seen = Callable[..., ObservedServer]
Edge = Callable[..., Observed]

NOW = 1000.0
DRAIN_TIMEOUT_S = 60.0


def planned(
    wanted: Desired, observed: Observed, leaving_since: Mapping[ServerKey, float] | None = None
) -> RoutingPlan:
    """Plan at a time that no test is about."""
    return plan(
        wanted,
        observed,
        leaving_since=leaving_since or {},
        now=NOW,
        drain_timeout_s=DRAIN_TIMEOUT_S,
    )


def as_is(observed: Observed, *servers: ObservedServer) -> Desired:
    """Want these servers and the routes that are there."""
    return Desired(
        servers=tuple(server.server for server in servers),
        routes=observed.routes,
        listing=observed.listing,
    )


def test_nothing_is_done_where_nothing_differs(seen: Seen, an_edge: Edge) -> None:
    """An equal edge gets no command."""
    edge = an_edge(seen(), routes={"m": ("lc0", "m")})

    assert planned(as_is(edge, seen()), edge) == RoutingPlan()


def test_a_missing_server_joins_before_its_route_is_published(seen: Seen, an_edge: Edge) -> None:
    """The first request that the route leads there finds the server."""
    after = an_edge(seen(), routes={"m": ("lc0", "m")})

    steps = planned(as_is(after, seen()), an_edge())

    assert [type(action) for action in steps.actions] == [Join, Publish]


@pytest.mark.parametrize(
    "changes",
    [{"admin": Admin.MAINT, "checked": False}, {"checked": False}, {"admin": Admin.DRAIN}],
)
def test_a_half_joined_or_wrongly_drained_server_is_resumed(
    seen: Seen, an_edge: Edge, changes: Mapping[str, object]
) -> None:
    """A crash between two commands leaves nothing behind."""
    edge = an_edge(seen(**changes))

    assert planned(as_is(edge, seen()), edge).actions == (Resume(key=seen().server.key),)


def test_a_changed_limit_is_adjusted_in_place(seen: Seen, an_edge: Edge) -> None:
    """The server goes on serving."""
    edge = an_edge(seen())
    smaller = replace(seen().server, maxconn=8)

    steps = planned(Desired(servers=(smaller,)), edge)

    assert steps.actions == (Adjust(server=smaller),)


def test_an_unwanted_server_drains_first(seen: Seen, an_edge: Edge) -> None:
    """Even an idle one: a request may be on its way."""
    edge = an_edge(seen())

    steps = planned(Desired(), edge)

    assert steps.actions == (Drain(key=seen().server.key),)
    assert steps.leaving_since == {seen().server.key: NOW}


@pytest.mark.parametrize("busy", [{"sessions": 1}, {"queued": 1}])
def test_a_draining_server_finishes_what_it_has(
    seen: Seen, an_edge: Edge, busy: Mapping[str, object]
) -> None:
    """Streams and queued requests are served."""
    edge = an_edge(seen(admin=Admin.DRAIN, **busy))

    assert planned(Desired(), edge).actions == ()


def test_an_idle_draining_server_retires(seen: Seen, an_edge: Edge) -> None:
    """It was idle after it began to drain."""
    edge = an_edge(seen(admin=Admin.DRAIN))

    assert planned(Desired(), edge).actions == (Retire(key=seen().server.key),)


def test_a_retirement_that_was_refused_is_tried_again(seen: Seen, an_edge: Edge) -> None:
    """HAProxy refuses while connections are attached."""
    edge = an_edge(seen(admin=Admin.MAINT, sessions=1))

    assert planned(Desired(), edge).actions == (Retire(key=seen().server.key),)


def test_past_the_deadline_streams_are_cut(seen: Seen, an_edge: Edge) -> None:
    """A stream that never ends must not keep a replica for ever."""
    edge = an_edge(seen(admin=Admin.DRAIN, sessions=1))
    since = {seen().server.key: NOW - DRAIN_TIMEOUT_S}

    steps = planned(Desired(), edge, since)

    assert steps.actions == (Retire(key=seen().server.key, cut=True),)


def test_the_deadline_counts_from_the_first_look(seen: Seen, an_edge: Edge) -> None:
    """Looking again does not begin it anew."""
    edge = an_edge(seen(admin=Admin.DRAIN, sessions=1))

    steps = planned(Desired(), edge, {seen().server.key: NOW - 10})

    assert steps.leaving_since == {seen().server.key: NOW - 10}


def test_a_server_that_is_wanted_again_forgets_that_it_was_leaving(
    seen: Seen, an_edge: Edge
) -> None:
    """Its next departure has the whole time again."""
    edge = an_edge(seen())

    assert planned(as_is(edge, seen()), edge, {seen().server.key: 1.0}).leaving_since == {}


def test_a_name_at_another_address_leaves_before_it_comes_back(seen: Seen, an_edge: Edge) -> None:
    """A name stands for one address."""
    edge = an_edge(seen())
    moved = replace(seen().server, endpoint=Endpoint(host="127.0.0.1", port=9))

    assert planned(Desired(servers=(moved,)), edge).actions == (Drain(key=moved.key),)


def test_routes_change_before_anybody_drains(seen: Seen, an_edge: Edge) -> None:
    """A pool that loses its last server gets no more requests by then."""
    edge = an_edge(seen(), routes={"m": ("lc0", "m")})

    steps = planned(Desired(), edge)

    assert [type(action) for action in steps.actions] == [Publish, Drain]


def test_foreign_map_entries_are_replaced(seen: Seen, an_edge: Edge) -> None:
    """Somebody wrote into a map by hand."""
    edge = replace(an_edge(), foreign=True)

    assert planned(Desired(), edge).actions == (Publish(routes=Routes(), listing=""),)


def test_who_may_ask_is_settled_before_any_route(seen: Seen, an_edge: Edge) -> None:
    """A model is never offered to everybody for a moment."""
    after = an_edge(seen(), routes={"m": ("lc0", "m")})
    closed = replace(as_is(after, seen()), access=KeysOnly())

    steps = planned(closed, an_edge())

    assert [type(action) for action in steps.actions] == [Admit, Join, Publish]


def test_tenants_written_by_hand_are_replaced(an_edge: Edge) -> None:
    """Even where what could be read of them is as it should be."""
    edge = replace(an_edge(), access=Open(), access_foreign=True)

    assert planned(Desired(access=Open()), edge).actions == (Admit(access=Open()),)


def test_exhausted_pools_are_a_reason_to_reload(an_edge: Edge) -> None:
    """Pools cannot be made at runtime."""
    unplaced = Unplaced(model="m", reason=ReloadReason.POOLS_EXHAUSTED)  # type: ignore[arg-type]

    steps = planned(Desired(unplaced=(unplaced,)), an_edge())

    assert steps.reload == (ReloadReason.POOLS_EXHAUSTED,)
    assert steps.unplaced == (unplaced,)


def test_pools_do_not_grow_beyond_their_bound(an_edge: Edge) -> None:
    """Reloading again and again would help nobody."""
    unplaced = Unplaced(model="m", reason=ReloadReason.POOLS_EXHAUSTED)  # type: ignore[arg-type]

    steps = planned(Desired(unplaced=(unplaced,)), an_edge(pools=POOLS_PER_KIND_MAX))

    assert steps.reload == ()
