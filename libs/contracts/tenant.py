"""A tenant: who may ask, how much at once, and before whom; kept in the `tenants` bucket.

A key itself is shown once to a person and stored nowhere: what is kept is its SHA-256.
A tenant without a key is revoked. Its record stays, because it says more than its absence would:
an empty bucket may have lost its content, one with a revoked tenant says that nobody is left.
Revoking therefore never opens an edge; `OpenToAll` does, while no tenant has a key.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Literal, NewType

from libs.contracts.checks import require_time
from libs.contracts.ids import TenantName, tenant_name

KeyHash = NewType("KeyHash", str)
"""A key's SHA-256: 64 hexadecimal digits, lower-case."""

TENANTS_MAX: Final = 1000
"""Tenants with a key; an edge lets the first of them in by name and refuses the rest."""

KEYS_PER_TENANT_MAX: Final = 8
REQUESTS_PER_MINUTE_MAX: Final = 1_000_000
CONCURRENT_REQUESTS_MAX: Final = 100_000

OPEN_TO_ALL_KEY: Final = "access.open"
"""Where `OpenToAll` is kept; no tenant can have that name."""

_KEY_HASH: Final = re.compile(r"[0-9a-f]{64}")


class Priority(IntEnum):
    """A place in an edge's queue: lower values are served first."""

    HIGH = -1
    NORMAL = 0
    LOW = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """Who may ask with a key of theirs, and how much.

    Attributes:
        key_hashes: of every key that counts; none for a revoked tenant.
        requests_per_minute: accepted within any minute, at each edge; None means no limit.
        concurrent_requests: waiting or being answered at once, at each edge; None means no limit.
        priority: who goes first where requests wait for a replica.
    """

    name: TenantName
    key_hashes: tuple[KeyHash, ...]
    requests_per_minute: int | None = None
    concurrent_requests: int | None = None
    priority: Priority = Priority.NORMAL
    schema: Literal["tenant.v1"] = "tenant.v1"

    def __post_init__(self) -> None:
        """Refuse names, keys and numbers that an edge could not keep to."""
        tenant_name(self.name)
        _within("requests per minute", self.requests_per_minute, REQUESTS_PER_MINUTE_MAX)
        _within("concurrent requests", self.concurrent_requests, CONCURRENT_REQUESTS_MAX)
        if len(self.key_hashes) > KEYS_PER_TENANT_MAX:
            message = f"tenant {self.name} has more than {KEYS_PER_TENANT_MAX} keys"
            raise ValueError(message)
        if not all(_KEY_HASH.fullmatch(each) for each in self.key_hashes):
            message = f"tenant {self.name}: a key's hash must be 64 of 0-9 a-f"
            raise ValueError(message)

    @property
    def is_revoked(self) -> bool:
        """Whether no key of this tenant counts."""
        return not self.key_hashes


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenToAll:
    """A person's word that requests need no key while no tenant has one."""

    declared_at: float
    schema: Literal["tenant.open.v1"] = "tenant.open.v1"

    def __post_init__(self) -> None:
        """Refuse a time that is not finite."""
        require_time("declared_at", self.declared_at)


def key_hash(key: str) -> KeyHash:
    """Return what is stored of a key."""
    return KeyHash(hashlib.sha256(key.encode()).hexdigest())


def _within(what: str, value: int | None, high: int) -> None:
    if value is not None and not 1 <= value <= high:
        message = f"{what} must be between 1 and {high}, not {value}"
        raise ValueError(message)
