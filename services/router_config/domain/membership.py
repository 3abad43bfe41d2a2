"""Who belongs to a model's pool: what leases say, and what their silence means.

An explicit word always counts: `ready` joins, `draining`, `stopped` and `failed` leave.
A missing lease means *unknown*: the server stays as long as HAProxy's own checks find it alive.
It leaves when the checks find it down, when another lease claims its address or its replica id,
or when the bus has been whole for longer than a grace time and no check ever said anything.
So an emptied or restarted bus takes no healthy replica away.

Source: Envoy, service discovery, "on eventually consistent service discovery".
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from libs.contracts.ids import ModelName
from libs.contracts.lease import Endpoint, ReplicaLease, ReplicaState
from services.router_config.domain.model import (
    Admin,
    Health,
    Known,
    Observed,
    ObservedServer,
    ServerName,
)

_ENDED = (ReplicaState.STOPPED, ReplicaState.FAILED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One replica that should take its model's requests.

    Attributes:
        adapters: the adapters that it serves; None while its lease is missing.
    """

    model: ModelName
    name: ServerName
    endpoint: Endpoint
    maxconn: int
    adapters: frozenset[str] | None = None


def server_name(lease: ReplicaLease) -> ServerName:
    """Name the server of one incarnation: a name is never used twice."""
    return ServerName(f"{lease.replica_id}.{lease.incarnation}")


def members(known: Known, observed: Observed, *, grace_s: float) -> tuple[Member, ...]:
    """Return who should take requests, sorted by model and name."""
    claimed = {(lease.model, server_name(lease)): lease for lease in known.leases}
    ready = _ready(claimed.values())
    kept = _kept(known, observed, claimed.keys(), grace_s=grace_s)
    return tuple(sorted({*ready, *kept}, key=lambda member: (member.model, member.name)))


def _ready(leases: Iterable[ReplicaLease]) -> list[Member]:
    """Ready leases with an address; of several with one address the youngest counts."""
    by_address: dict[Endpoint, ReplicaLease] = {}
    for lease in sorted(leases, key=_age):
        address = _address(lease)
        if lease.state is ReplicaState.READY and address is not None:
            by_address[address] = lease
    return [
        Member(
            model=lease.model,
            name=server_name(lease),
            endpoint=address,
            maxconn=lease.max_num_seqs,
            adapters=frozenset(lease.adapters),
        )
        for address, lease in by_address.items()
    ]


def _address(lease: ReplicaLease) -> Endpoint | None:
    return None if lease.address is None else _as_haproxy_writes(lease.address)


@lru_cache(maxsize=8192)
def _as_haproxy_writes(address: Endpoint) -> Endpoint | None:
    """Return the address in HAProxy's form; None for names, which it cannot look up here."""
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
    claimed: Iterable[tuple[ModelName, ServerName]],
    *,
    grace_s: float,
) -> list[Member]:
    names = set(claimed)
    settled = known.connected_for_s is not None and known.connected_for_s > grace_s
    models = observed.models_by_pool()
    found: list[Member] = []
    for seen in observed.servers:
        model = models.get(seen.server.key.pool)
        if model is None or (model, seen.server.key.name) in names:
            continue
        if _alive(seen, settled=settled) and not _superseded(model, seen, known.leases):
            found.append(_member(model, seen))
    return found


def _alive(seen: ObservedServer, *, settled: bool) -> bool:
    if seen.admin is not Admin.READY or seen.health is Health.DOWN:
        return False
    return seen.health is Health.UP or not settled


def _superseded(model: ModelName, seen: ObservedServer, leases: Iterable[ReplicaLease]) -> bool:
    """Another incarnation of the replica, or anybody else at its address."""
    replica = seen.server.key.name.rpartition(".")[0]
    return any(
        (lease.model == model and lease.replica_id == replica)
        or (_address(lease) == seen.server.endpoint and lease.state not in _ENDED)
        for lease in leases
    )


def _member(model: ModelName, seen: ObservedServer) -> Member:
    return Member(
        model=model,
        name=seen.server.key.name,
        endpoint=seen.server.endpoint,
        maxconn=seen.server.maxconn,
    )
