"""What the bus last said: live copies of leases and models, kept when the bus goes away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Never

from libs.bus.ports import BucketView, Headers, Snapshot, StateStore
from libs.contracts.lease import ReplicaLease
from libs.contracts.model_spec import ModelSpec
from libs.contracts.subjects import MODELS_BUCKET, REPLICAS_BUCKET
from libs.errors import TransientError
from libs.telemetry.logging import get_logger
from services.router_config.domain.membership import server_name
from services.router_config.domain.model import Known, ServerName

_RETRY_S: Final = 1.0
_WAKE_AT_LEAST_S: Final = 3600.0

_log = get_logger(__name__)


class BusViews:
    """Follows the buckets that routing depends on, and wakes whoever decides."""

    def __init__(self, store: StateStore, wake: Callable[[], None]) -> None:
        """Start with nothing known."""
        self._store = store
        self._wake = wake
        self._views: dict[str, BucketView] = {}

    def known(self, now: float) -> Known:
        """Return what is known at a Unix time in seconds."""
        leases = self._snapshot(REPLICAS_BUCKET)
        models = self._snapshot(MODELS_BUCKET)
        since = leases.connected_since if leases else None
        return Known(
            leases=tuple(
                entry.value
                for entry in (leases.entries.values() if leases else ())
                if isinstance(entry.value, ReplicaLease)
            ),
            models=tuple(
                entry.value
                for entry in models.entries.values()
                if isinstance(entry.value, ModelSpec)
            )
            if models
            else None,
            connected_for_s=None if since is None else max(0.0, now - since),
        )

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
