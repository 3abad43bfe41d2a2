"""One leader at a time, by a lease in the bucket `leaders`.

A leader that cannot refresh its claim stops leading before the claim expires on the bus, by its
own clock. Two leaders are still possible when a clock jumps, so what leaders do must be idempotent.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final, Never

from libs.bus.ports import StateStore
from libs.clock import Clock, sleep
from libs.contracts.leader import LEADER_REFRESH_S, LEADER_TTL_S, LeaderClaim
from libs.contracts.subjects import LEADERS_BUCKET
from libs.errors import TransientError
from libs.telemetry.logging import get_logger

SAFETY_S: Final = 1.0
"""How long before its claim expires a leader stops."""

_log = get_logger(__name__)


class Leadership:
    """This process's claim to lead a service."""

    def __init__(self, store: StateStore, clock: Clock, *, service: str, holder: str) -> None:
        """Claim nothing yet; `holder` must name this process and no other."""
        self._store = store
        self._clock = clock
        self._service = service
        self._holder = holder
        self._revision = 0
        self._until = 0.0

    @property
    def leads(self) -> bool:
        """Whether this process may act now."""
        return self._clock.monotonic() < self._until

    async def run(self) -> Never:
        """Claim and refresh; ends only by cancellation."""
        while True:
            await self.refresh()
            await sleep(self._clock, LEADER_REFRESH_S)

    async def refresh(self) -> None:
        """Try once to become or to stay the leader."""
        led = self.leads
        with suppress(TransientError):
            await self._claim()
        if self.leads != led:
            _log.info("leadership_changed", service=self._service, leads=self.leads)

    async def release(self) -> None:
        """Let another process lead at once."""
        led, self._until = self.leads, 0.0
        if led:
            with suppress(TransientError):
                await self._store.delete(LEADERS_BUCKET, self._service)

    async def _claim(self) -> None:
        began = self._clock.monotonic()
        written = await self._write(self._revision)
        if written is None and self._revision:
            # The claim expired, or the bus forgot it: begin anew.
            written = await self._write(0)
        self._revision = written or 0
        self._until = began + LEADER_TTL_S - SAFETY_S if written else 0.0

    async def _write(self, revision: int) -> int | None:
        claim = LeaderClaim(
            service=self._service, holder=self._holder, claimed_at=self._clock.now()
        )
        return await self._store.put_if(
            LEADERS_BUCKET, self._service, claim, revision=revision, ttl_s=LEADER_TTL_S
        )
