"""Who may ask: what the bus says of tenants, and what its silence means.

Theory:
- Unknown (None) lets nobody in. It lasts from a first start until the bus was heard once;
  an edge that knew something before goes on with that while the bus is away.
- A tenant with a key closes the edge to everybody without one, and revoking the last one leaves
  it closed: only a person's word (`OpenToAll`) opens it again.
- An empty bucket changes nothing, since a bus that lost its content is empty too. It opens an
  edge that knew nothing.
- A value that cannot be read keeps what the edge had of it, and keeps the edge closed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from libs.contracts.ids import TenantName
from libs.contracts.tenant import TENANTS_MAX, KeyHash, Priority, Tenant


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What a key gives: whose it is, with the tenant's limits; None means no limit."""

    tenant: TenantName
    requests_per_minute: int | None = None
    concurrent_requests: int | None = None
    priority: Priority = Priority.NORMAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Open:
    """Everybody may ask."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeysOnly:
    """Whoever has one of these keys may ask; with no grants nobody may."""

    grants: Mapping[KeyHash, Grant] = field(default_factory=dict)


Access = Open | KeysOnly


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownTenants:
    """The bucket of tenants.

    Attributes:
        open_to_all: requests need no key while no tenant has one.
        unreadable: keys of values that this version cannot read.
    """

    tenants: tuple[Tenant, ...] = ()
    open_to_all: bool = False
    unreadable: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether the bucket holds nothing at all."""
        return not (self.tenants or self.open_to_all or self.unreadable)


def decide_access(known: KnownTenants | None, observed: Access | None) -> Access | None:
    """Return who may ask, given what the bus says and what the edge has; None is unknown."""
    if known is None:
        return observed
    if known.is_empty:
        return observed or Open()
    admitted = admitted_tenants(known.tenants)
    if known.open_to_all and not admitted and not known.unreadable:
        return Open()
    kept = _kept(observed, known.unreadable)
    return KeysOnly(grants={**kept, **_grants(admitted)})


def admitted_tenants(tenants: Iterable[Tenant]) -> tuple[Tenant, ...]:
    """Return those with a key, sorted by name, as many as an edge takes."""
    return _with_keys(tenants)[:TENANTS_MAX]


def refused_tenants(known: KnownTenants | None) -> tuple[TenantName, ...]:
    """Return those who have a key and find no room."""
    beyond = _with_keys(known.tenants)[TENANTS_MAX:] if known else ()
    return tuple(tenant.name for tenant in beyond)


def is_from_before(known: KnownTenants | None, observed: Access | None) -> bool:
    """Tell whether the edge goes on with tenants that the bus has lost."""
    return known is not None and known.is_empty and isinstance(observed, KeysOnly)


def _with_keys(tenants: Iterable[Tenant]) -> tuple[Tenant, ...]:
    return tuple(sorted((t for t in tenants if not t.is_revoked), key=_name))


def _grants(tenants: Iterable[Tenant]) -> dict[KeyHash, Grant]:
    """A key that two tenants claim belongs to the first of them."""
    grants: dict[KeyHash, Grant] = {}
    for tenant in tenants:
        grant = Grant(
            tenant=tenant.name,
            requests_per_minute=tenant.requests_per_minute,
            concurrent_requests=tenant.concurrent_requests,
            priority=tenant.priority,
        )
        for each in tenant.key_hashes:
            grants.setdefault(each, grant)
    return grants


def _kept(observed: Access | None, names: Iterable[str]) -> dict[KeyHash, Grant]:
    if not isinstance(observed, KeysOnly):
        return {}
    unreadable = frozenset(names)
    return {each: g for each, g in observed.grants.items() if g.tenant in unreadable}


def _name(tenant: Tenant) -> TenantName:
    return tenant.name
