"""The fake replicas' leases: written, refreshed and withdrawn as real replicas do."""

from __future__ import annotations

import asyncio
import secrets
import time
from contextlib import suppress
from dataclasses import replace
from typing import Never

from libs.bus.ports import StateStore
from libs.contracts.ids import Incarnation, ModelName, ReplicaId
from libs.contracts.lease import (
    LEASE_REFRESH_S,
    LEASE_TTL_S,
    Endpoint,
    ReplicaLease,
    ReplicaState,
    Versions,
)
from libs.contracts.subjects import REPLICAS_BUCKET, lease_key
from libs.errors import TransientError


class Leases:
    """The leases of one model's replicas."""

    def __init__(self, store: StateStore, model: ModelName, *, max_num_seqs: int) -> None:
        """Write into a store; nobody has a lease yet."""
        self._store = store
        self._model = model
        self._max_num_seqs = max_num_seqs
        self._held: dict[str, ReplicaLease] = {}

    async def begin(self, name: str, endpoint: Endpoint) -> None:
        """Say that a replica starts; so all of these raise.

        Raises:
            PeerUnreachableError: the bus did not answer in time.
        """
        await self._write(self._lease(name, endpoint))

    async def say(self, name: str, state: ReplicaState) -> None:
        """Say another state of a replica."""
        await self._write(replace(self._held[name], state=state))

    async def withdraw(self, name: str) -> None:
        """Remove the lease of a replica that has left."""
        lease = self._held.pop(name)
        await self._store.delete(REPLICAS_BUCKET, lease_key(lease.model, lease.replica_id))

    async def stop_all(self) -> None:
        """Say of every replica that it has ended."""
        for name in list(self._held):
            await self.say(name, ReplicaState.STOPPED)

    async def withdraw_all(self) -> None:
        """Remove every lease that is left."""
        for name in list(self._held):
            await self.withdraw(name)

    async def refresh(self) -> Never:
        """Write every lease again before it expires, until cancelled."""
        while True:
            await asyncio.sleep(LEASE_REFRESH_S)
            for name in list(self._held):
                # A lost refresh is made up for by the next: four may be lost.
                with suppress(TransientError, KeyError):
                    await self._write(self._held[name])

    async def _write(self, lease: ReplicaLease) -> None:
        self._held[lease.replica_id] = lease
        key = lease_key(lease.model, lease.replica_id)
        await self._store.put(REPLICAS_BUCKET, key, lease, ttl_s=LEASE_TTL_S)

    def _lease(self, name: str, endpoint: Endpoint) -> ReplicaLease:
        return ReplicaLease(
            replica_id=ReplicaId(name),
            incarnation=Incarnation(secrets.token_hex(4)),
            model=self._model,
            state=ReplicaState.STARTING,
            address=endpoint,
            max_num_seqs=self._max_num_seqs,
            executor="none",
            device="simulated",
            pid=0,
            versions=Versions(sluice="bench", vllm="none", ray="none"),
            started_at=time.time(),
        )
