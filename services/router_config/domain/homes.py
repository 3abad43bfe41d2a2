"""Decide to which replica addresses an edge may send requests.

A replica's process runs models' code and writes its own lease, so its address cannot be trusted.
By default replicas are in private networks or on loopback. Public, unspecified, multicast and
link-local addresses are refused; clouds serve credentials on a link-local one. Unix sockets are
accepted below one folder, and refused if no folder is configured.
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
        """Say in one line why the address of a lease is refused; None if it is accepted."""
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
            return f"{address} is a host name, not an address"
        if any(host in network for network in self.networks):
            return None
        return f"{address} is in no network of replicas"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sorted:
    """Accepted leases, and one line for each refused one."""

    leases: tuple[ReplicaLease, ...]
    objections: tuple[str, ...]


def at_home(leases: Iterable[ReplicaLease], homes: Homes) -> Sorted:
    """Split leases into accepted and refused ones."""
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
    """Parse networks in CIDR notation.

    Raises:
        ValueError: a text is not a network.
    """
    return tuple(ipaddress.ip_network(text.strip()) for text in texts)


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Parse an address; an IPv4-mapped IPv6 address becomes the IPv4 one."""
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found
