"""Pure translation between who may ask and the map in which HAProxy looks it up.

The map holds `access open` or `access keys`, and for each key's hash
`<tenant>:<requests per minute>:<concurrent requests>:<priority>`, where 0 stands for no limit.
It is one map, so that keys, limits and the question whether keys are needed change together.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from libs.contracts.ids import tenant_name
from libs.contracts.tenant import KeyHash, Priority
from libs.haproxy.config import ACCESS_KEY, ACCESS_KEYS_ONLY, ACCESS_OPEN
from services.router_config.domain.access import Access, Grant, KeysOnly, Open

Entries = tuple[tuple[str, str], ...]

_GRANT: Final = re.compile(r"([^:]+):(\d+):(\d+):(-?\d+)")
_KEY_HASH: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadAccess:
    """A map's content; `foreign` says that it also holds what we never write."""

    access: Access | None
    foreign: bool


def access_entries(access: Access | None) -> Entries:
    """Render who may ask; nothing while it is unknown."""
    match access:
        case None:
            return ()
        case Open():
            return ((ACCESS_KEY, ACCESS_OPEN),)
        case KeysOnly(grants=grants):
            keys = ((each, _grant_text(grants[each])) for each in sorted(grants))
            return ((ACCESS_KEY, ACCESS_KEYS_ONLY), *keys)


def read_access(entries: Entries) -> ReadAccess:
    """Read a map; any key in it closes the edge, whatever else was written by hand."""
    grants: dict[KeyHash, Grant] = {}
    for key, value in entries:
        grant = _read_grant(value)
        if grant is not None and _KEY_HASH.fullmatch(key):
            grants.setdefault(KeyHash(key), grant)
    said = next((value for key, value in entries if key == ACCESS_KEY), None)
    access = _access(said, grants)
    return ReadAccess(access=access, foreign=sorted(entries) != sorted(access_entries(access)))


def _access(said: str | None, grants: dict[KeyHash, Grant]) -> Access | None:
    if grants or said == ACCESS_KEYS_ONLY:
        return KeysOnly(grants=grants)
    return Open() if said == ACCESS_OPEN else None


def _grant_text(grant: Grant) -> str:
    limits = (grant.requests_per_minute or 0, grant.concurrent_requests or 0)
    return f"{grant.tenant}:{limits[0]}:{limits[1]}:{int(grant.priority)}"


def _read_grant(text: str) -> Grant | None:
    found = _GRANT.fullmatch(text)
    if found is None:
        return None
    try:
        return Grant(
            tenant=tenant_name(found[1]),
            requests_per_minute=int(found[2]) or None,
            concurrent_requests=int(found[3]) or None,
            priority=Priority(int(found[4])),
        )
    except ValueError:
        return None
