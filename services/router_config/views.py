"""What the bus last said: live copies of its buckets, kept when the bus goes away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Never

from libs.bus.ports import BucketView, Headers, Snapshot, StateStore
from libs.contracts.failing import FailingModel
from libs.contracts.lease import ReplicaLease
from libs.contracts.model_spec import ModelSpec
from libs.contracts.subjects import (
    MODELS_BUCKET,
    REPLICAS_BUCKET,
    TARGETS_BUCKET,
    TENANTS_BUCKET,
)
from libs.contracts.tenant import OpenToAll, Tenant
from libs.errors import TransientError
from libs.telemetry.logging import get_logger
from services.router_config.domain.access import KnownTenants
from services.router_config.domain.declared import Declared, hear
from services.router_config.domain.homes import Homes, at_home
from services.router_config.domain.membership import server_name
from services.router_config.domain.model import Known, ServerName

_RETRY_S: Final = 1.0
_WAKE_AT_LEAST_S: Final = 3600.0

_log = get_logger(__name__)


class BusViews:
    """Follows the buckets that routing depends on, and wakes whoever decides."""

    def __init__(self, store: StateStore, wake: Callable[[], None], homes: Homes) -> None:
        """Start with nothing known; `homes` decides which leases are accepted."""
        self._store = store
        self._wake = wake
        self._homes = homes
        self._views: dict[str, BucketView] = {}
        self._whole_at: float | None = None
        self._connection: float | None = None
        self._connected_at = 0.0
        self._declared = Declared()

    def known(self, now: float) -> Known:
        """Return what is known at a monotonic time in seconds."""
        leases = self._snapshot(REPLICAS_BUCKET)
        declared = self._hear_models()
        tenants = self._snapshot(TENANTS_BUCKET)
        since = self._connected_since(leases.connected_since if leases else None, now)
        self._whole_at = self._whole_at if since is None else now
        entries = leases.entries.values() if leases else ()
        found = (entry.value for entry in entries if isinstance(entry.value, ReplicaLease))
        judged = at_home(found, self._homes)
        return Known(
            leases=judged.leases,
            objections=judged.objections,
            models=declared.models,
            models_lost=declared.lost,
            tenants=_tenants(tenants) if tenants else None,
            failing=self._failing(),
            connected_for_s=None if since is None else max(0.0, now - since),
            away_for_s=None if self._whole_at is None else max(0.0, now - self._whole_at),
        )

    def _connected_since(self, connection: float | None, now: float) -> float | None:
        """Return the monotonic time at which a connection was first seen; None without one.

        The Unix time at which it began only tells it from the one before: a clock that is set
        makes no connection older.
        """
        if connection != self._connection:
            self._connection, self._connected_at = connection, now
        return None if connection is None else self._connected_at

    def _hear_models(self) -> Declared:
        snapshot = self._snapshot(MODELS_BUCKET)
        if snapshot is not None:
            values = (entry.value for entry in snapshot.entries.values())
            specs = [value for value in values if isinstance(value, ModelSpec)]
            # An unreadable record does not mean that the model was removed.
            before = self._declared.models or ()
            specs += [spec for spec in before if spec.name in snapshot.rejected]
            self._declared = hear(self._declared, tuple(specs), live_since=snapshot.connected_since)
        return self._declared

    def _failing(self) -> tuple[FailingModel, ...]:
        snapshot = self._snapshot(TARGETS_BUCKET)
        values = (entry.value for entry in (snapshot.entries.values() if snapshot else ()))
        return tuple(value for value in values if isinstance(value, FailingModel))

    def lease_headers(self) -> dict[ServerName, Headers]:
        """Return the trace context with which each lease was written."""
        leases = self._snapshot(REPLICAS_BUCKET)
        return {
            server_name(entry.value): entry.headers
            for entry in (leases.entries.values() if leases else ())
            if isinstance(entry.value, ReplicaLease)
        }

    async def follow(self, bucket: str) -> Never:
        """Keep a live copy of one bucket; while the bus cannot be reached, try again and again."""
        while True:
            try:
                async with self._store.view(bucket) as view:
                    self._views[bucket] = view
                    self._wake()
                    await self._pass_on(view)
            except TransientError as error:
                _log.info("bucket_view_unavailable", bucket=bucket, error=str(error))
            await asyncio.sleep(_RETRY_S)

    async def _pass_on(self, view: BucketView) -> Never:
        while True:
            if await view.changed(timeout_s=_WAKE_AT_LEAST_S):
                self._wake()

    def _snapshot(self, bucket: str) -> Snapshot | None:
        view = self._views.get(bucket)
        return view.snapshot() if view else None


def _tenants(snapshot: Snapshot) -> KnownTenants:
    """What is in the bucket and no tenant counts as unreadable: it is not nothing."""
    values = {key: entry.value for key, entry in snapshot.entries.items()}
    strangers = (k for k, v in values.items() if not isinstance(v, Tenant | OpenToAll))
    return KnownTenants(
        tenants=tuple(value for value in values.values() if isinstance(value, Tenant)),
        open_to_all=any(isinstance(value, OpenToAll) for value in values.values()),
        unreadable=(*snapshot.rejected, *strangers),
    )
