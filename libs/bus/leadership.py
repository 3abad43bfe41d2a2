"""One leader at a time, by a lease in the bucket `leaders`.

A leader that cannot refresh its claim stops leading before the claim expires on the bus, by its
own monotonic clock. A standby takes over a claim that has not changed for longer than its TTL by
the standby's clock: after an unclean end, nats-server can bring back a dead leader's claim.
Each write names the revision that it replaces, so exactly one of two claimants wins.
Two leaders are still possible for up to a second if the bus lost the claim and a standby claims
before the leader has noticed, so what leaders do must be idempotent.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Never

from libs.bus.ports import StateStore
from libs.clock import Clock, sleep
from libs.contracts.leader import LEADER_REFRESH_S, LEADER_TTL_S, LeaderClaim
from libs.contracts.subjects import LEADERS_BUCKET
from libs.errors import TerminalError, TransientError
from libs.telemetry.logging import get_logger

SAFETY_S: Final = 1.0
"""How long before its claim expires a leader stops."""

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Other:
    """Another process's claim, and when this one first saw that revision, in monotonic seconds."""

    revision: int
    seen_at: float


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
        self._other = _Other(revision=0, seen_at=0.0)

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
        if written is None and await self._is_other_dead():
            written = await self._write(self._other.revision)
        self._revision = written or 0
        self._until = began + LEADER_TTL_S - SAFETY_S if written else 0.0

    async def _is_other_dead(self) -> bool:
        """Tell whether the other claim has been unchanged for longer than its TTL."""
        now = self._clock.monotonic()
        try:
            entry = await self._store.get(LEADERS_BUCKET, self._service)
        except TerminalError:
            return False  # a newer version may lead
        if entry is None or entry.revision != self._other.revision:
            self._other = _Other(revision=entry.revision if entry else 0, seen_at=now)
            return False
        return now - self._other.seen_at > LEADER_TTL_S + SAFETY_S

    async def _write(self, revision: int) -> int | None:
        claim = LeaderClaim(
            service=self._service, holder=self._holder, claimed_at=self._clock.now()
        )
        return await self._store.put_if(
            LEADERS_BUCKET, self._service, claim, revision=revision, ttl_s=LEADER_TTL_S
        )
