"""Refuses, before anything listens, to serve where nothing would protect the API."""

from __future__ import annotations

import asyncio
from typing import Final

from libs.bus.ports import Snapshot, StateStore
from libs.contracts.exposure import Listener, refusal, warning
from libs.contracts.subjects import TENANTS_BUCKET
from libs.contracts.tenant import Tenant
from libs.errors import TransientError, UsageError
from libs.telemetry.logging import get_logger

TENANTS_WAIT_S: Final = 5.0
"""How long a start beyond loopback waits to hear of tenants; unheard of is no reason to refuse."""

_RETRY_S: Final = 0.1

_log = get_logger(__name__)


async def require_protection(
    store: StateStore, listener: Listener, *, admitted: bool, wait_s: float = TENANTS_WAIT_S
) -> None:
    """Ask the bus for tenants if that matters, and warn of keys that would travel unencrypted.

    An edge that `admitted` tenants before starts with those even where the bus has lost them.

    Raises:
        UsageError: the bus says that there is no tenant, and the address needs one or TLS.
    """
    if listener.is_loopback:
        return
    unasked = listener.encrypted or admitted
    has_tenants = None if unasked else await _has_tenants(store, wait_s=wait_s)
    refused = refusal(listener, has_tenants=has_tenants)
    if refused is not None:
        raise UsageError(refused)
    risk = warning(listener)
    if risk is not None:
        _log.warning("api_unencrypted", risk=risk)


async def _has_tenants(store: StateStore, *, wait_s: float) -> bool | None:
    """Return whether anybody has a key; None if the bus does not say so in time."""
    try:
        async with asyncio.timeout(wait_s):
            return tenants_in(await _first_snapshot(store))
    except TimeoutError:
        return None


async def _first_snapshot(store: StateStore) -> Snapshot:
    while True:
        try:
            async with store.view(TENANTS_BUCKET) as view:
                return view.snapshot()
        except TransientError:
            await asyncio.sleep(_RETRY_S)


def tenants_in(snapshot: Snapshot) -> bool | None:
    """Tell whether a bucket has a tenant with a key; None if a value in it cannot be read."""
    values = [entry.value for entry in snapshot.entries.values()]
    if any(isinstance(value, Tenant) and not value.is_revoked for value in values):
        return True
    return None if snapshot.rejected else False
