"""Tenants on the bus: read, and written so that nobody's change is lost."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from libs.bus.nats_bus import NatsBus
from libs.contracts.subjects import TENANTS_BUCKET
from libs.contracts.tenant import OPEN_TO_ALL_KEY, OpenToAll, Tenant
from libs.errors import TransientError
from tools.cli.tenant_changes import Limits, TenantError, added, limited, revoked


class ChangedMeanwhileError(TransientError):
    """Somebody else changed the tenant at the same moment; try again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stored:
    """A tenant as it was read, with its record's revision."""

    tenant: Tenant
    revision: int


async def stored_tenants(bus: NatsBus) -> dict[str, Tenant]:
    """Read every tenant by name, revoked ones too."""
    return {name: each.tenant for name, each in (await _stored(bus)).items()}


async def add_tenant(bus: NatsBus, name: str, limits: Limits, *, key: str) -> bool:
    """Write a tenant with a key; True if it is the first one with a key.

    Raises:
        TenantError: it cannot be added.
        ChangedMeanwhileError: somebody else added it.
    """
    found = await _stored(bus)
    others = [each.tenant for each in found.values()]
    await _change(
        bus,
        found.get(name),
        lambda stored: added(name, limits, key=key, stored=stored, others=others),
    )
    # A word from before there was a tenant must not open the edge when the last one is revoked.
    await bus.delete(TENANTS_BUCKET, OPEN_TO_ALL_KEY)
    return not _names(found)


async def limit_tenant(bus: NatsBus, name: str, limits: Limits) -> Tenant:
    """Write other limits; raises as `add_tenant`."""
    found = await _stored(bus)
    return await _change(
        bus,
        found.get(name),
        lambda stored: limited(name, limits, stored=stored, known=_names(found)),
    )


async def revoke_tenant(bus: NatsBus, name: str) -> bool:
    """Write that a tenant's keys count no more; True if no tenant is left.

    Raises as `add_tenant`.
    """
    found = await _stored(bus)
    known = _names(found)
    await _change(bus, found.get(name), lambda stored: revoked(name, stored=stored, known=known))
    return known == [name]


async def open_to_all(bus: NatsBus) -> None:
    """Write that requests need no key.

    Raises:
        TenantError: a tenant has a key.
    """
    known = _names(await _stored(bus))
    if known:
        raise TenantError(f"revoke every tenant first; there is: {', '.join(known)}")
    await bus.put(TENANTS_BUCKET, OPEN_TO_ALL_KEY, OpenToAll(declared_at=time.time()))


async def _stored(bus: NatsBus) -> dict[str, _Stored]:
    async with bus.view(TENANTS_BUCKET) as view:
        entries = view.snapshot().entries
    return {
        name: _Stored(tenant=entry.value, revision=entry.revision)
        for name, entry in entries.items()
        if isinstance(entry.value, Tenant)
    }


async def _change(
    bus: NatsBus, stored: _Stored | None, change: Callable[[Tenant | None], Tenant]
) -> Tenant:
    """Write what `change` makes of the record, provided that it is still the one that was read."""
    wanted = change(stored.tenant if stored else None)
    revision = stored.revision if stored else 0
    if await bus.put_if(TENANTS_BUCKET, wanted.name, wanted, revision=revision) is None:
        raise ChangedMeanwhileError
    return wanted


def _names(found: dict[str, _Stored]) -> list[str]:
    """Return who has a key, sorted."""
    return sorted(name for name, each in found.items() if not each.tenant.is_revoked)
