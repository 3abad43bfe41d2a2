"""What `./sluice tenant` makes of a tenant's record (pure); numbers come as a person wrote them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Final

from libs.contracts.ids import TenantName, tenant_name
from libs.contracts.tenant import TENANTS_MAX, Priority, Tenant, key_hash
from libs.errors import UsageError

UNLIMITED: Final = "none"
PRIORITIES: Final = {each.name.lower(): each for each in Priority}


class TenantError(UsageError):
    """The tenant cannot be changed like this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """A person's words about limits; None is an option that was not given."""

    requests_per_minute: str | None = None
    concurrent: str | None = None
    priority: str | None = None

    def __bool__(self) -> bool:
        """Tell whether any was given."""
        return (self.requests_per_minute, self.concurrent, self.priority) != (None, None, None)

    def apply(self, tenant: Tenant) -> Tenant:
        """Return the tenant with these limits; what was not given stays.

        Raises:
            TenantError: a number or the priority is not what it should be.
        """
        rate, concurrent = tenant.requests_per_minute, tenant.concurrent_requests
        if self.requests_per_minute is not None:
            rate = _number("--requests-per-minute", self.requests_per_minute)
        if self.concurrent is not None:
            concurrent = _number("--concurrent", self.concurrent)
        priority = tenant.priority if self.priority is None else _priority(self.priority)
        try:
            return replace(
                tenant,
                requests_per_minute=rate,
                concurrent_requests=concurrent,
                priority=priority,
            )
        except ValueError as exc:
            raise TenantError(str(exc)) from exc


def added(
    text: str, limits: Limits, *, key: str, stored: Tenant | None, others: Collection[Tenant]
) -> Tenant:
    """Return a tenant with a key; a revoked one may come back, with the limits given here.

    Raises:
        TenantError: the name cannot be one or is taken, or there are too many.
    """
    name = _name(text)
    if stored is not None and not stored.is_revoked:
        raise TenantError(
            f"tenant {name} is there already; change it with `./sluice tenant limit {name}`,"
            f" or revoke it first"
        )
    if sum(not each.is_revoked for each in others) >= TENANTS_MAX:
        raise TenantError(f"there are {TENANTS_MAX} tenants already, which is the limit")
    return limits.apply(Tenant(name=name, key_hashes=(key_hash(key),)))


def limited(text: str, limits: Limits, *, stored: Tenant | None, known: Collection[str]) -> Tenant:
    """Return a tenant with other limits.

    Raises:
        TenantError: there is no such tenant, or nothing is to be changed.
    """
    tenant = _present(text, stored, known)
    if not limits:
        raise TenantError("say what to change: --requests-per-minute, --concurrent or --priority")
    return limits.apply(tenant)


def revoked(text: str, *, stored: Tenant | None, known: Collection[str]) -> Tenant:
    """Return a tenant whose keys count no more.

    Raises:
        TenantError: there is no such tenant.
    """
    return replace(_present(text, stored, known), key_hashes=())


def _present(text: str, stored: Tenant | None, known: Collection[str]) -> Tenant:
    if stored is None or stored.is_revoked:
        listed = ", ".join(sorted(known)) or "none"
        raise TenantError(f"no tenant {text!r} is declared; there is: {listed}")
    return stored


def _name(text: str) -> TenantName:
    try:
        return tenant_name(text)
    except ValueError as exc:
        raise TenantError(str(exc)) from exc


def _number(option: str, text: str) -> int | None:
    if text == UNLIMITED:
        return None
    if not (text.isascii() and text.isdecimal()):
        raise TenantError(f"{option} must be a number or `{UNLIMITED}`, not {text!r}")
    return int(text)


def _priority(text: str) -> Priority:
    found = PRIORITIES.get(text)
    if found is None:
        raise TenantError(f"--priority must be one of {', '.join(PRIORITIES)}, not {text!r}")
    return found
