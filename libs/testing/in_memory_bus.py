"""The bus in memory: keeps every promise of `libs/bus/ports.py` without a server."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from libs.bus.codec import decode_fact, encode
from libs.bus.live_bucket import LiveBucket, RawEntry, Rejected, decode_entry
from libs.bus.ports import BucketView, Entry, Headers, Received, Record, Report, StoredFact
from libs.bus.report_queue import ReportQueue
from libs.bus.subject_match import subject_matches
from libs.clock import Clock, SystemClock
from libs.contracts.events import Fact
from libs.contracts.ids import EventId
from libs.contracts.subjects import report_subject
from libs.errors import PeerUnreachableError, TerminalError
from libs.telemetry.context import inject


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fact:
    sequence: int
    body: bytes
    headers: Headers


class InMemoryBus:
    """A `StateStore` and an `EventBus`.

    Leases expire by the clock that it is given: a `FakeClock` expires them inside `advance`.
    `disconnect`, `reconnect` and `wipe` do to its users what a server's end and return do.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        """Start empty and connected; the machine's clock is the default."""
        self._clock = clock or SystemClock()
        self._connected = True
        self._revision = 0
        self._buckets: dict[str, dict[str, RawEntry]] = defaultdict(dict)
        self._views: dict[str, list[LiveBucket]] = defaultdict(list)
        self._facts: list[_Fact] = []
        self._event_ids: set[EventId] = set()
        self._listeners: list[tuple[str, ReportQueue]] = []

    def disconnect(self) -> None:
        """Be away: views keep the last known state, everything else fails."""
        self._connected = False
        for view in self._all_views():
            view.away()

    def reconnect(self) -> None:
        """Be back: views read everything again."""
        self._connected = True
        for bucket, views in self._views.items():
            for view in views:
                view.replace(self._buckets[bucket])

    def wipe(self) -> None:
        """Forget everything that was stored, as a server that lost its disk while it was away."""
        assert not self._connected, "only a bus that is away can lose its disk"
        self._revision = 0
        self._buckets.clear()
        self._facts.clear()
        self._event_ids.clear()

    def put_raw(self, bucket: str, key: str, body: bytes) -> None:
        """Write bytes that may be no valid record, as a foreign program could."""
        self._write(bucket, key, body, None)

    @asynccontextmanager
    async def view(self, bucket: str) -> AsyncIterator[BucketView]:
        """Open a live copy."""
        self._reach()
        live = LiveBucket(bucket, self._clock)
        live.replace(self._buckets[bucket])
        live.forget_changes()
        self._views[bucket].append(live)
        try:
            yield live
        finally:
            self._views[bucket].remove(live)
            live.close()

    async def get(self, bucket: str, key: str) -> Entry | None:
        """Read one key; None when it is not there."""
        self._reach()
        raw = self._buckets[bucket].get(key)
        held = decode_entry(raw) if raw else None
        if isinstance(held, Rejected):
            raise TerminalError(held.why)
        return held

    async def put(self, bucket: str, key: str, value: Record, *, ttl_s: float | None = None) -> int:
        """Write one key whatever it held; returns the new revision."""
        self._reach()
        return self._write(bucket, key, encode(value), ttl_s)

    async def put_if(
        self, bucket: str, key: str, value: Record, *, revision: int, ttl_s: float | None = None
    ) -> int | None:
        """Write one key only if it still has this revision (0: only if it is not there)."""
        self._reach()
        held = self._buckets[bucket].get(key)
        if (held.revision if held else 0) != revision:
            return None
        return self._write(bucket, key, encode(value), ttl_s)

    async def delete(self, bucket: str, key: str, *, revision: int | None = None) -> bool:
        """Remove one key; with `revision` only if it still has that one."""
        self._reach()
        held = self._buckets[bucket].get(key)
        if revision is not None and (held is None or held.revision != revision):
            return False
        self._remove(bucket, key)
        return True

    async def record(self, fact: Fact) -> None:
        """Store a fact; storing the same event id twice stores it once."""
        self._reach()
        if fact.stamp.event_id in self._event_ids:
            return
        self._event_ids.add(fact.stamp.event_id)
        self._facts.append(
            _Fact(sequence=len(self._facts) + 1, body=encode(fact), headers=inject())
        )

    async def report(self, report: Report) -> None:
        """Send a report to whoever listens."""
        self._reach()
        subject = report_subject(report)
        for pattern, queue in self._listeners:
            if subject_matches(pattern, subject):
                queue.offer(subject, encode(report), inject())

    @asynccontextmanager
    async def reports(self, subjects: str) -> AsyncIterator[AsyncIterator[Received]]:
        """Listen to reports."""
        queue = ReportQueue()
        listener = (subjects, queue)
        self._listeners.append(listener)
        try:
            yield queue.read()
        finally:
            self._listeners.remove(listener)

    async def facts(self, *, after_sequence: int = 0) -> AsyncIterator[StoredFact]:
        """Read the stored facts after a place, up to the end as it is now."""
        self._reach()
        for stored in self._facts[after_sequence:]:
            yield StoredFact(
                sequence=stored.sequence, value=decode_fact(stored.body), headers=stored.headers
            )

    def _write(self, bucket: str, key: str, body: bytes, ttl_s: float | None) -> int:
        self._revision += 1
        raw = RawEntry(
            key=key,
            body=body,
            revision=self._revision,
            headers=inject(),
            ttl_s=ttl_s,
            written_at=self._clock.now(),
        )
        self._buckets[bucket][key] = raw
        self._show(bucket, raw)
        if ttl_s is not None:
            self._clock.call_later(math.ceil(ttl_s), lambda: self._expire(bucket, raw))
        return raw.revision

    def _expire(self, bucket: str, raw: RawEntry) -> None:
        if self._buckets[bucket].get(raw.key) is raw:
            self._remove(bucket, raw.key)

    def _remove(self, bucket: str, key: str) -> None:
        if self._buckets[bucket].pop(key, None) is not None:
            self._revision += 1
            self._show(
                bucket, RawEntry(key=key, body=None, revision=self._revision, headers=inject())
            )

    def _show(self, bucket: str, raw: RawEntry) -> None:
        if self._connected:
            for view in self._views[bucket]:
                view.apply(raw)

    def _all_views(self) -> list[LiveBucket]:
        return [view for views in self._views.values() for view in views]

    def _reach(self) -> None:
        if not self._connected:
            raise PeerUnreachableError(peer="bus")
