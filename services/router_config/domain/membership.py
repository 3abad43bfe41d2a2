"""Who belongs to a model's pool: what leases say, and what their silence means.

An explicit word always counts: `ready` joins, `draining`, `stopped` and `failed` leave.
A missing lease means *unknown*: the server stays as long as HAProxy's own checks find it alive.
It leaves when the checks find it down, when another lease claims its address or its replica id,
or when the bus has been whole for longer than a grace time and no check ever said anything.
So an emptied or restarted bus takes no healthy replica away.

A replica has a server for its Python application in the twin, and in the main pool one for its main
front end where some replica of the model has Rust; that one then decides whether the replica is
alive. While its lease is missing, its front end is told from the two addresses, and its names from
the routes.

Source: Envoy, service discovery, "on eventually consistent service discovery".
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from libs.contracts.ids import ModelName
from libs.contracts.lease import Address, Endpoint, FrontEnd, ReplicaLease, ReplicaState
from services.router_config.domain.model import (
    Admin,
    Health,
    Known,
    Observed,
    ObservedServer,
    ServerName,
)
from services.router_config.domain.pairs import Pair, Pairs

_ENDED = (ReplicaState.STOPPED, ReplicaState.FAILED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One replica that should take its model's requests.

    Attributes:
        endpoint: where its main front end is; None, as for `python`, where neither a lease nor
            HAProxy nor the state directory tells. Without a lease and a server in the main pool
            nothing tells it.
        python: where its Python application is; `endpoint` itself without a Rust front end.
        front_end: which front end the main one is.
        rust_names: the names that its Rust front end answers to; None while its lease is missing.
        adapters: the adapters that it serves; None while its lease is missing.
    """

    model: ModelName
    name: ServerName
    endpoint: Address | None
    python: Address | None
    maxconn: int
    front_end: FrontEnd = FrontEnd.PYTHON
    rust_names: frozenset[str] | None = None
    adapters: frozenset[str] | None = None


class LeaseMembers:
    """Makes members of leases, and keeps each for as long as its lease is the same object.

    The bus hands out the same object until a lease says something new, and a lease may have
    thousands of names.
    """

    def __init__(self) -> None:
        """Remember nothing."""
        self._made: dict[int, tuple[ReplicaLease, Member | None]] = {}

    def of(self, leases: Iterable[ReplicaLease]) -> list[tuple[ReplicaLease, Member | None]]:
        """Return each lease with its member; None for one without a usable address."""
        made = self._made
        self._made = {id(each): made.get(id(each)) or (each, _claimed(each)) for each in leases}
        return list(self._made.values())


_LEASE_MEMBERS: Final = LeaseMembers()


def server_name(lease: ReplicaLease) -> ServerName:
    """Name the server of one incarnation: a name is never used twice."""
    return ServerName(f"{lease.replica_id}.{lease.incarnation}")


def members(
    known: Known, observed: Observed, pairs: Pairs, *, grace_s: float
) -> tuple[Member, ...]:
    """Return who should take requests, sorted by model and name; `pairs` are of `observed`."""
    claimed = {(lease.model, server_name(lease)) for lease in known.leases}
    ready = _ready(known.leases)
    kept = _kept(known, observed, pairs, claimed, grace_s=grace_s)
    return tuple(sorted({*ready, *kept}, key=lambda member: (member.model, member.name)))


def _ready(leases: Iterable[ReplicaLease]) -> list[Member]:
    """Ready leases with an address; of several with one address the youngest counts."""
    found = [
        (lease, member)
        for lease, member in _LEASE_MEMBERS.of(leases)
        if member is not None and lease.state is ReplicaState.READY
    ]
    found.sort(key=lambda each: _age(each[0]))
    return list({member.endpoint: member for _, member in found}.values())


def _claimed(lease: ReplicaLease) -> Member | None:
    """Return the member that a lease tells of; None while it has no address."""
    address = _address(lease.address)
    if address is None:
        return None
    is_rust = lease.front_end is FrontEnd.RUST
    return Member(
        model=lease.model,
        name=server_name(lease),
        endpoint=address,
        python=_address(lease.python_address) if is_rust else address,
        maxconn=lease.max_num_seqs,
        front_end=lease.front_end,
        rust_names=_names(lease.rust_names) if is_rust else None,
        adapters=frozenset(lease.adapters),
    )


@lru_cache(maxsize=8192)
def _names(names: tuple[str, ...]) -> frozenset[str]:
    """Return the same set for equal names: sets that are one object compare at once."""
    return frozenset(names)


def _address(address: Address | None) -> Address | None:
    """Return an address in HAProxy's form; None for host names, which it cannot look up here."""
    return _as_haproxy_writes(address) if isinstance(address, Endpoint) else address


@lru_cache(maxsize=8192)
def _as_haproxy_writes(address: Endpoint) -> Endpoint | None:
    try:
        host = ipaddress.ip_address(address.host)
    except ValueError:
        return None
    return Endpoint(host=str(host), port=address.port)


def _age(lease: ReplicaLease) -> tuple[float, str, str]:
    return (lease.started_at, lease.model, server_name(lease))


def _kept(
    known: Known,
    observed: Observed,
    pairs: Pairs,
    claimed: Collection[tuple[ModelName, ServerName]],
    *,
    grace_s: float,
) -> list[Member]:
    settled = known.connected_for_s is not None and known.connected_for_s > grace_s
    models = observed.models_by_pool()
    found: list[Member] = []
    for (pool, name), pair in pairs.items():
        model = models.get(pool)
        if model is None or (model, name) in claimed:
            continue
        if _alive(pair.seen, settled=settled) and not _superseded(model, pair, known.leases):
            found.append(_member(model, pair))
    return found


def _alive(seen: ObservedServer, *, settled: bool) -> bool:
    if seen.admin is not Admin.READY or seen.health is Health.DOWN:
        return False
    return seen.health is Health.UP or not settled


def _superseded(model: ModelName, pair: Pair, leases: Iterable[ReplicaLease]) -> bool:
    """Another incarnation of the replica, or any other replica at one of its addresses."""
    replica = pair.seen.server.key.name.rpartition(".")[0]
    at = {address for address in (pair.endpoint, pair.python) if address is not None}
    return any(
        (lease.model == model and lease.replica_id == replica)
        or (
            lease.state not in _ENDED
            and not at.isdisjoint((_address(lease.address), _address(lease.python_address)))
        )
        for lease in leases
    )


def _member(model: ModelName, pair: Pair) -> Member:
    return Member(
        model=model,
        name=pair.seen.server.key.name,
        endpoint=pair.endpoint,
        python=pair.python,
        maxconn=pair.seen.server.maxconn,
        front_end=FrontEnd.RUST if pair.is_rust else FrontEnd.PYTHON,
    )
