"""Read and write tenants on the bus with compare-and-set.

Open access (`OpenToAll`) takes effect while no tenant has a key. If it stayed in the bucket while
tenants exist, revoking the last one would open the edge. `add` and `revoke` therefore delete it
before they write, and `add` deletes it again afterwards, in case `open` ran at the same time.
An interrupted command leaves the edge closed.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from libs.bus.ports import StateStore
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


async def stored_tenants(bus: StateStore) -> dict[str, Tenant]:
    """Read every tenant by name, revoked ones too."""
    return {name: each.tenant for name, each in (await _stored(bus)).items()}


async def add_tenant(bus: StateStore, name: str, limits: Limits, *, key: str) -> bool:
    """Write a tenant with a key; True if it is the first one with a key.

    Raises:
        TenantError: it cannot be added.
        ChangedMeanwhileError: somebody else added it.
    """
    found = await _stored(bus)
    others = [each.tenant for each in found.values()]
    stored = found.get(name)
    wanted = added(name, limits, key=key, stored=stored.tenant if stored else None, others=others)
    await bus.delete(TENANTS_BUCKET, OPEN_TO_ALL_KEY)
    await _write(bus, wanted, stored)
    await bus.delete(TENANTS_BUCKET, OPEN_TO_ALL_KEY)
    return not _names(found)


async def limit_tenant(bus: StateStore, name: str, limits: Limits) -> Tenant:
    """Write other limits; raises as `add_tenant`."""
    found = await _stored(bus)
    stored = found.get(name)
    wanted = limited(name, limits, stored=stored.tenant if stored else None, known=_names(found))
    await _write(bus, wanted, stored)
    return wanted


async def revoke_tenant(bus: StateStore, name: str) -> bool:
    """Write that a tenant's keys count no more; True if no tenant is left.

    Raises as `add_tenant`.
    """
    found = await _stored(bus)
    known, stored = _names(found), found.get(name)
    wanted = revoked(name, stored=stored.tenant if stored else None, known=known)
    await bus.delete(TENANTS_BUCKET, OPEN_TO_ALL_KEY)
    await _write(bus, wanted, stored)
    return known == [name]


async def open_to_all(bus: StateStore) -> None:
    """Write that requests need no key.

    Raises:
        TenantError: a tenant has a key.
    """
    await _require_no_tenant(bus)
    await bus.put(TENANTS_BUCKET, OPEN_TO_ALL_KEY, OpenToAll(declared_at=time.time()))
    try:
        await _require_no_tenant(bus)
    except TenantError:
        await bus.delete(TENANTS_BUCKET, OPEN_TO_ALL_KEY)
        raise


async def _require_no_tenant(bus: StateStore) -> None:
    known = _names(await _stored(bus))
    if known:
        raise TenantError(f"revoke every tenant first; there is: {', '.join(known)}")


async def _stored(bus: StateStore) -> dict[str, _Stored]:
    async with bus.view(TENANTS_BUCKET) as view:
        entries = view.snapshot().entries
    return {
        name: _Stored(tenant=entry.value, revision=entry.revision)
        for name, entry in entries.items()
        if isinstance(entry.value, Tenant)
    }


async def _write(bus: StateStore, wanted: Tenant, stored: _Stored | None) -> None:
    """Write a record if it is unchanged since it was read."""
    revision = stored.revision if stored else 0
    if await bus.put_if(TENANTS_BUCKET, wanted.name, wanted, revision=revision) is None:
        raise ChangedMeanwhileError


def _names(found: dict[str, _Stored]) -> list[str]:
    """Return who has a key, sorted."""
    return sorted(name for name, each in found.items() if not each.tenant.is_revoked)
