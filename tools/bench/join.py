"""Measures how soon a replica that says `ready` answers a request through HAProxy.

Against a running stack, a model of its own joins with one small fake replica, again and again:
the time runs from the write of its lease to the first 200 by that very replica. Each join so
includes the model's pool, route and listing, which is more than a second replica would need.
Nothing is left behind, and models of the stack are not touched.
"""

from __future__ import annotations

import asyncio
import math
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import httpx

from libs.bus.nats_bus import NatsBus, connect
from libs.bus.settings import BusSettings, read_credentials
from libs.contracts.ids import Incarnation, ModelName, ReplicaId
from libs.contracts.lease import LEASE_TTL_S, ReplicaLease, ReplicaState, Versions
from libs.contracts.subjects import REPLICAS_BUCKET, lease_key
from libs.testing.fake_replica import FakeReplica, Script, fake_replica

JOIN_TIMEOUT_S: Final = 10.0
REQUESTS_PER_JOIN: Final = 2
_POLL_S: Final = 0.001
_PAUSE_S: Final = 0.2
_STREAM: Final = Script(tokens=10, token_s=0.03)


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinReport:
    """What was measured.

    Attributes:
        latencies_ms: from the lease's write to the first answer, in order.
        failed_requests: requests that got no whole answer after the replica had joined, streams
            that ran while it left among them.
    """

    latencies_ms: tuple[float, ...]
    failed_requests: int

    @property
    def p50_ms(self) -> float:
        """The median."""
        return percentile(self.latencies_ms, 50)

    @property
    def p99_ms(self) -> float:
        """The 99th percentile; below 100 joins that is the slowest."""
        return percentile(self.latencies_ms, 99)

    @property
    def max_ms(self) -> float:
        """The slowest."""
        return max(self.latencies_ms)

    def to_json(self) -> dict[str, object]:
        """Return plain values."""
        return {
            "joins": len(self.latencies_ms),
            "failed_requests": self.failed_requests,
            "p50_ms": self.p50_ms,
            "p99_ms": self.p99_ms,
            "max_ms": self.max_ms,
            "latencies_ms": list(self.latencies_ms),
        }


def percentile(values: Sequence[float], rank: float) -> float:
    """Return the smallest value that is not below `rank` percent of all (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(rank / 100 * len(ordered)) - 1)]


def measure_joins(count: int, *, api_url: str, credentials_file: Path) -> JoinReport:
    """Measure so many joins; the credentials must be those of the user `replica`.

    Raises:
        UsageError: the credentials cannot be read.
        PeerUnreachableError: the bus did not answer.
        TimeoutError: a replica was not reached within `JOIN_TIMEOUT_S`.
    """
    return asyncio.run(_measure(count, api_url=api_url, credentials_file=credentials_file))


async def _measure(count: int, *, api_url: str, credentials_file: Path) -> JoinReport:
    settings = BusSettings(credentials=read_credentials(credentials_file), name="bench-join")
    latencies: list[float] = []
    failed = 0
    async with connect(settings) as bus, httpx.AsyncClient(base_url=api_url, timeout=30) as http:
        for _ in range(count):
            async with fake_replica("bench", _STREAM) as replica:
                joiner = _Joiner(bus=bus, http=http, replica=replica, lease=_lease(replica))
                latency_ms, failures = await joiner.measure()
            latencies.append(latency_ms)
            failed += failures
    return JoinReport(latencies_ms=tuple(latencies), failed_requests=failed)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Joiner:
    """One replica's short life."""

    bus: NatsBus
    http: httpx.AsyncClient
    replica: FakeReplica
    lease: ReplicaLease

    async def measure(self) -> tuple[float, int]:
        """Join, serve, leave; return the latency and how many requests failed."""
        try:
            latency_ms = await self._join()
            served = [await self._whole_answer() for _ in range(REQUESTS_PER_JOIN)]
            last, _ = await asyncio.gather(self._whole_answer(), self._drain())
            return latency_ms, [*served, last].count(False)
        finally:
            await self._leave()

    async def _join(self) -> float:
        await self._say(ReplicaState.STARTING)
        await asyncio.sleep(_PAUSE_S)
        began = time.perf_counter()
        reached_at, _ = await asyncio.gather(self._reached(), self._say(ReplicaState.READY))
        return (reached_at - began) * 1000

    async def _drain(self) -> None:
        """Say so while a stream runs."""
        await asyncio.sleep(_PAUSE_S / 2)
        await self._say(ReplicaState.DRAINING)

    async def _leave(self) -> None:
        """Take the replica out, then its lease: a lease that only vanished would mean unknown."""
        await self._say(ReplicaState.STOPPED)
        await asyncio.sleep(_PAUSE_S)
        key = lease_key(self.lease.model, self.lease.replica_id)
        await self.bus.delete(REPLICAS_BUCKET, key)

    async def _say(self, state: ReplicaState) -> None:
        key = lease_key(self.lease.model, self.lease.replica_id)
        said = replace(self.lease, state=state)
        await self.bus.put(REPLICAS_BUCKET, key, said, ttl_s=LEASE_TTL_S)

    async def _reached(self) -> float:
        """Ask until the replica answers; return when that was."""
        body = {"model": self.lease.model}
        async with asyncio.timeout(JOIN_TIMEOUT_S):
            while True:
                answer = await self.http.post("/v1/completions", json=body)
                if answer.status_code == httpx.codes.OK:
                    return time.perf_counter()
                await asyncio.sleep(_POLL_S)

    async def _whole_answer(self) -> bool:
        body = {"model": self.lease.model, "stream": True}
        try:
            answer = await self.http.post("/v1/completions", json=body)
        except httpx.HTTPError:
            return False
        return answer.status_code == httpx.codes.OK and answer.text.endswith("data: [DONE]\n\n")


def _lease(replica: FakeReplica) -> ReplicaLease:
    """Return the lease of a model that nobody else has; a new one for every join."""
    return ReplicaLease(
        replica_id=ReplicaId("bench"),
        incarnation=Incarnation(secrets.token_hex(4)),
        model=ModelName(f"bench-{secrets.token_hex(4)}"),
        state=ReplicaState.STARTING,
        address=replica.endpoint,
        max_num_seqs=64,
        executor="none",
        device="simulated",
        pid=0,
        versions=Versions(sluice="bench", vllm="none", ray="none"),
        started_at=time.time(),
    )
