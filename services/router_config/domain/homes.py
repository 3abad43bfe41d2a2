"""Where a replica may live: which addresses of a lease an edge sends requests to.

A replica's process runs models' code and writes its own lease, so its address is a claim.
By default a replica is in a private network or on loopback, and never at an address that stands for
something else: any, everybody, or the link that clouds answer for credentials. Unix sockets count
below one folder, and none where no folder is named.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from libs.contracts.lease import Address, Endpoint, ReplicaLease

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

PRIVATE_NETWORKS: Final = (
    *("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"),
    *("::1/128", "fc00::/7"),
)
"""Loopback, RFC 1918, RFC 6598 (shared address space, which clusters use) and RFC 4193."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Homes:
    """Where replicas may live.

    Attributes:
        networks: of replicas on TCP ports.
        sockets_dir: below which replicas' unix sockets are; None refuses all of them.
    """

    networks: tuple[Network, ...]
    sockets_dir: str | None = None

    def objection(self, lease: ReplicaLease) -> str | None:
        """Say in one line why a replica may not live where its lease says; None where it may."""
        said = (self._objection(at) for at in (lease.address, lease.python_address) if at)
        return next((each for each in said if each is not None), None)

    def _objection(self, address: Address) -> str | None:
        if not isinstance(address, Endpoint):
            # No path of a lease has `..` in it.
            if self.sockets_dir is not None and address.path.startswith(f"{self.sockets_dir}/"):
                return None
            return f"{address} is not below the folder of replicas' sockets"
        host = _ip(address.host)
        if host is None:
            return f"{address} is a name, which nothing here looks up"
        if any(host in network for network in self.networks):
            return None
        return f"{address} is in no network of replicas"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sorted:
    """Leases that count, and what is wrong with the others, by key."""

    leases: tuple[ReplicaLease, ...]
    objections: tuple[str, ...]


def at_home(leases: Iterable[ReplicaLease], homes: Homes) -> Sorted:
    """Leave out the leases of replicas that may not live where they say."""
    judged = [(lease, homes.objection(lease)) for lease in leases]
    return Sorted(
        leases=tuple(lease for lease, objection in judged if objection is None),
        objections=tuple(
            f"{lease.model}.{lease.replica_id}: {objection}"
            for lease, objection in judged
            if objection is not None
        ),
    )


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Read networks as a person writes them.

    Raises:
        ValueError: one of them is none.
    """
    return tuple(ipaddress.ip_network(text.strip()) for text in texts)


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return an address; an IPv4 address that is written as IPv6 is what it stands for."""
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found
