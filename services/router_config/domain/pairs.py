"""The servers of one replica as seen: one in the twin, and maybe one of its name in the main pool.

Where no lease tells which front end a replica has, its servers do: a Rust front end and the Python
application beside it have different addresses, a replica with Python alone has one address.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from libs.contracts.lease import Address
from services.router_config.domain.model import (
    Admin,
    ObservedServer,
    PoolName,
    Server,
    ServerKey,
    ServerName,
    is_twin,
    main_of,
    twin_of,
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
        """The server that speaks for the replica: the main one unless only the twin is ready."""
        found = self.main or self.twin
        if self.twin is not None and self.twin.admin is Admin.READY and not self.takes_requests:
            found = self.twin
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

    @property
    def is_rust(self) -> bool:
        """Whether the server in the main pool is a Rust front end, as far as can be told."""
        if self.main is None:
            return False
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


def doors(servers: Iterable[Server]) -> Mapping[ServerKey, Address]:
    """Return where the replica of each server in a main pool can be asked who it is.

    That is its Python application, in the twin: a Rust front end does not know its name.
    """
    endpoints = {server.key: server.endpoint for server in servers}
    twins = {
        key: endpoints.get(ServerKey(pool=twin_of(key.pool), name=key.name))
        for key in endpoints
        if not is_twin(key.pool)
    }
    return {key: at for key, at in twins.items() if at is not None}


def seconds(servers: Iterable[Server]) -> frozenset[ServerKey]:
    """Return the servers in twins whose replica has a Rust front end in the main pool.

    The one in the main pool speaks for the replica. A replica with Python alone has one front end
    behind both servers.
    """
    endpoints = {server.key: server.endpoint for server in servers}
    mains = {key: ServerKey(pool=main_of(key.pool), name=key.name) for key in endpoints}
    return frozenset(
        key
        for key, main in mains.items()
        if is_twin(key.pool) and main in endpoints and endpoints[main] != endpoints[key]
    )
