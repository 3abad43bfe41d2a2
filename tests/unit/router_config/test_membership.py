"""Who belongs to a pool: what leases say and what their silence means."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from libs.contracts.lease import ReplicaLease, ReplicaState
from services.router_config.domain.membership import members
from services.router_config.domain.model import Admin, Health, Known, Observed, ObservedServer
from services.router_config.domain.pairs import pair_up

Lease = Callable[..., ReplicaLease]
Seen = Callable[..., ObservedServer]
Edge = Callable[..., Observed]

ROUTES = {"m": ("lc0", "m")}
GRACE_S = 15.0


def names(known: Known, observed: Observed) -> list[str]:
    """Return the members' names."""
    pairs = pair_up(observed.servers)
    return [member.name for member in members(known, observed, pairs, grace_s=GRACE_S)]


def test_a_ready_lease_joins(a_lease: Lease, an_edge: Edge) -> None:
    """Its replica serves already: it says ready only then."""
    assert names(Known(leases=(a_lease(),)), an_edge()) == ["r1.aa"]


@pytest.mark.parametrize("state", [s for s in ReplicaState if s is not ReplicaState.READY])
def test_every_other_state_takes_no_new_requests(
    a_lease: Lease, seen: Seen, an_edge: Edge, state: ReplicaState
) -> None:
    """An explicit word counts, however healthy the server looks."""
    known = Known(leases=(a_lease(state=state),))

    assert names(known, an_edge(seen(), routes=ROUTES)) == []


@pytest.mark.parametrize("port", [None])
def test_a_replica_without_an_address_cannot_join(
    a_lease: Lease, an_edge: Edge, port: None
) -> None:
    """There is nowhere to send requests to."""
    assert names(Known(leases=(a_lease(port=port),)), an_edge()) == []


def test_an_address_must_be_an_ip_address(a_lease: Lease, an_edge: Edge) -> None:
    """HAProxy would block on a name, and show another text than it was given."""
    assert names(Known(leases=(a_lease(host="replica.local"),)), an_edge()) == []


def test_ipv6_addresses_are_written_as_haproxy_shows_them(a_lease: Lease, an_edge: Edge) -> None:
    """Otherwise the server would look moved at every look."""
    known = Known(leases=(a_lease(host="0:0:0:0:0:0:0:1"),))

    (member,) = members(known, an_edge(), {}, grace_s=GRACE_S)

    assert str(member.endpoint) == "[::1]:8000"


@pytest.mark.parametrize("connected_for_s", [None, 0.0, 1e9])
def test_a_healthy_server_survives_the_loss_of_its_lease(
    seen: Seen, an_edge: Edge, connected_for_s: float | None
) -> None:
    """An emptied or restarted bus takes no healthy replica away."""
    known = Known(models=(), connected_for_s=connected_for_s)

    assert names(known, an_edge(seen(), routes=ROUTES)) == ["r1.aa"]


def test_a_dead_server_leaves_with_its_lease(seen: Seen, an_edge: Edge) -> None:
    """No lease and checks that fail: both agree."""
    edge = an_edge(seen(health=Health.DOWN), routes=ROUTES)

    assert names(Known(connected_for_s=1.0), edge) == []


def test_a_dead_server_with_a_lease_stays(a_lease: Lease, seen: Seen, an_edge: Edge) -> None:
    """HAProxy sends it nothing while its checks fail, and takes it back when they pass."""
    edge = an_edge(seen(health=Health.DOWN), routes=ROUTES)

    assert names(Known(leases=(a_lease(),)), edge) == ["r1.aa"]


@pytest.mark.parametrize(
    ("connected_for_s", "expected"), [(None, ["r1.aa"]), (GRACE_S, ["r1.aa"]), (GRACE_S + 1, [])]
)
def test_an_unchecked_silent_server_stays_until_the_grace_time_is_over(
    seen: Seen, an_edge: Edge, connected_for_s: float | None, expected: list[str]
) -> None:
    """Its replica had the time to say that it is there."""
    edge = an_edge(seen(health=Health.UNKNOWN), routes=ROUTES)

    assert names(Known(connected_for_s=connected_for_s), edge) == expected


def test_a_draining_server_whose_lease_is_gone_does_not_come_back(
    seen: Seen, an_edge: Edge
) -> None:
    """It left on its own word; the lease was removed after that."""
    edge = an_edge(seen(admin=Admin.DRAIN), routes=ROUTES)

    assert names(Known(), edge) == []


def test_a_claimed_address_belongs_to_the_one_who_claims_it(
    a_lease: Lease, seen: Seen, an_edge: Edge
) -> None:
    """Health checks of the old server would be answered by the new one."""
    known = Known(leases=(a_lease("r2", port=8000, state=ReplicaState.STARTING),))

    assert names(known, an_edge(seen(), routes=ROUTES)) == []


def test_an_ended_replica_claims_no_address(a_lease: Lease, seen: Seen, an_edge: Edge) -> None:
    """Its port may be somebody else's by then."""
    known = Known(leases=(a_lease("r2", port=8000, state=ReplicaState.STOPPED),))

    assert names(known, an_edge(seen(), routes=ROUTES)) == ["r1.aa"]


def test_a_new_incarnation_takes_the_place_of_the_old(
    a_lease: Lease, seen: Seen, an_edge: Edge
) -> None:
    """A replica that started again is not its former self, even at another address."""
    known = Known(leases=(a_lease(incarnation="bb", port=9000),))

    assert names(known, an_edge(seen(), routes=ROUTES)) == ["r1.bb"]


def test_of_two_leases_with_one_address_the_younger_counts(a_lease: Lease, an_edge: Edge) -> None:
    """The older one has not expired yet."""
    known = Known(leases=(a_lease("new", started_at=2.0), a_lease("old", started_at=1.0)))

    assert names(known, an_edge()) == ["new.aa"]


def test_a_server_of_a_pool_that_nobody_routes_to_is_no_member(seen: Seen, an_edge: Edge) -> None:
    """Nobody can say whose it is."""
    assert names(Known(), an_edge(seen())) == []
