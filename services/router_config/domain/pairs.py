"""The servers of one replica as seen: one in the main pool, and one of the same name in its twin.

Where no lease tells which front end a replica has, its servers do: a Rust front end and the Python
application beside it have different addresses, a replica with Python alone has one address.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from libs.contracts.lease import Address
from services.router_config.domain.model import (
    Admin,
    FrontEnds,
    Observed,
    ObservedServer,
    PoolName,
    ServerName,
    main_of,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """The two servers; None is one that HAProxy does not have."""

    main: ObservedServer | None
    twin: ObservedServer | None

    @property
    def number(self) -> int | None:
        """The place on the ring that the replica has in both pools; None where it has none."""
        found = self.main or self.twin
        return found.server.number if found else None

    @property
    def seen(self) -> ObservedServer:
        """The server that speaks for the replica."""
        found = self.main or self.twin
        assert found is not None  # noqa: S101 - a pair is made of the servers that were seen
        return found

    @property
    def endpoint(self) -> Address | None:
        """Where the main front end is, as far as known."""
        return self.main.server.endpoint if self.main else None

    @property
    def python(self) -> Address | None:
        """Where the server in the twin is, as far as known."""
        return self.twin.server.endpoint if self.twin else None

    @property
    def takes_requests(self) -> bool:
        """Whether HAProxy may give the server in the main pool new requests."""
        return self.main is not None and self.main.admin is Admin.READY

    def is_rust(self, *, within: Observed) -> bool:
        """Whether the main front end is a Rust one, or may be one as far as can be told."""
        if self.main is None:
            return True
        if self.twin is None:
            return is_restricted(self.main.server.key.pool, within)
        return self.endpoint is None or self.endpoint != self.python


Pairs = Mapping[tuple[PoolName, ServerName], Pair]
"""By main pool and the name that both servers have."""


def pair_up(servers: Iterable[ObservedServer]) -> Pairs:
    """Join the servers of main pools with those of their twins."""
    mains: dict[tuple[PoolName, ServerName], ObservedServer] = {}
    twins: dict[tuple[PoolName, ServerName], ObservedServer] = {}
    main_pools: dict[PoolName, PoolName] = {}
    for seen in servers:
        pool, name = seen.server.key.pool, seen.server.key.name
        main = main_pools.get(pool) or main_pools.setdefault(pool, main_of(pool))
        (mains if main == pool else twins)[main, name] = seen
    return {key: Pair(main=mains.get(key), twin=twins.get(key)) for key in {**mains, **twins}}


def is_restricted(pool: PoolName, observed: Observed) -> bool:
    """Whether some name that leads to a main pool is kept from its Rust front ends."""
    routes = observed.routes.by_route
    return any(r.pool == pool and r.front_ends is not FrontEnds.ANY for r in routes)
