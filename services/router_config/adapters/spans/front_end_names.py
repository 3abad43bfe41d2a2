"""Which front end is behind a server of a main pool, for spans."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from libs.contracts.lease import FrontEnd, ReplicaLease
from services.router_config.domain.membership import server_name


class FrontEndNames:
    """Looks servers up in leases, only when a new one appears: an incarnation never changes."""

    def __init__(self, leases: Callable[[], Iterable[ReplicaLease]]) -> None:
        """Take where leases are read."""
        self._leases = leases
        self._known: dict[str, FrontEnd | None] = {}

    def of(self, server: str) -> FrontEnd | None:
        """Return a server's front end; None while no lease tells it."""
        if server not in self._known:
            self._known = {server_name(lease): lease.front_end for lease in self._leases()}
            self._known.setdefault(server, None)
        return self._known[server]
