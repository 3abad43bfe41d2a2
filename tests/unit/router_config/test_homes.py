"""Where a replica may live.

Invariants: with the default networks nothing outside private networks and loopback gets a request,
in whatever way its address is written; a socket counts only below the folder; one lease that is
refused takes no other with it.
"""

from __future__ import annotations

import ipaddress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.contracts.lease import Endpoint, ReplicaLease, UnixEndpoint
from services.router_config.domain.homes import PRIVATE_NETWORKS, Homes, at_home, networks
from tests.unit.router_config.conftest import make_lease

HOMES = Homes(networks=networks(PRIVATE_NETWORKS), sockets_dir="/run/replicas")


@pytest.mark.parametrize(
    ("host", "may"),
    [
        *[(host, True) for host in ("127.0.0.1", "10.1.2.3", "172.31.0.1", "192.168.1.1")],
        *[(host, True) for host in ("100.64.0.1", "::1", "fd00::1", "::ffff:10.0.0.1")],
        *[(host, False) for host in ("8.8.8.8", "169.254.169.254", "0.0.0.0", "255.255.255.255")],  # noqa: S104 - they are refused
        *[(host, False) for host in ("224.0.0.1", "::", "2001:db8::1", "fe80::1", "ff02::1")],
        *[(host, False) for host in ("::ffff:169.254.169.254", "replica-0.example", "localhost")],
    ],
)
def test_by_default_a_replica_lives_in_a_private_network(host: str, may: bool) -> None:  # noqa: FBT001
    """The link that clouds answer for credentials is none, and neither are names."""
    assert (HOMES.objection(make_lease(host=host)) is None) == may


@given(address=st.ip_addresses())
def test_a_network_that_is_named_holds_whatever_is_in_it(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    """A cluster with public addresses says so."""
    homes = Homes(networks=networks(["0.0.0.0/0", "::/0"]))

    assert homes.objection(make_lease(host=str(address))) is None


@pytest.mark.parametrize(
    ("path", "may"),
    [
        ("/run/replicas/r1/http.sock", True),
        ("/run/replicas-of-others/http.sock", False),
        ("/run/admin.sock", False),
    ],
)
def test_a_socket_counts_below_the_folder_of_replicas_alone(path: str, may: bool) -> None:  # noqa: FBT001
    """HAProxy's own socket is beside it."""
    lease = replace(make_lease(), address=UnixEndpoint(path=path))

    assert (HOMES.objection(lease) is None) == may
    assert Homes(networks=()).objection(lease) is not None


def test_both_addresses_of_a_replica_count() -> None:
    """The Python application's as well as the main front end's."""
    lease = replace(make_lease(), python_address=Endpoint(host="8.8.8.8", port=80))

    assert HOMES.objection(lease) == "8.8.8.8:80 is in no network of replicas"


def test_a_lease_that_is_refused_is_named_and_harms_no_other() -> None:
    """Whoever looks at the status sees which replica and why."""
    good: ReplicaLease = make_lease("r1")

    judged = at_home([good, make_lease("r2", host="8.8.8.8")], HOMES)

    assert judged.leases == (good,)
    assert judged.objections == ("m.r2: 8.8.8.8:8000 is in no network of replicas",)


def test_a_network_that_is_none_is_refused() -> None:
    """A setting with a mistake in it must not let everybody in, or nobody."""
    with pytest.raises(ValueError, match="does not appear"):
        networks(["10.0.0.0/8", "the pods"])
