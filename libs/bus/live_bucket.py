"""A bucket's copy in memory: what both the real bus and its fake hand out as a `BucketView`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace

from libs.bus.codec import decode_record
from libs.bus.ports import Entry, Headers, Snapshot
from libs.clock import Clock, wait_for_event
from libs.errors import TerminalError


@dataclass(frozen=True, slots=True, kw_only=True)
class RawEntry:
    """A key's value as it came from the bus; None for a value that was removed or expired."""

    key: str
    body: bytes | None
    revision: int
    headers: Headers


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """A value that could not be decoded, and why."""

    revision: int
    why: str


Held = Entry | Rejected


def decode_entry(raw: RawEntry) -> Held | None:
    """Decode one value; None for one that is gone."""
    if raw.body is None:
        return None
    try:
        value = decode_record(raw.body)
    except TerminalError as exc:
        return Rejected(revision=raw.revision, why=str(exc))
    return Entry(key=raw.key, value=value, revision=raw.revision, headers=raw.headers)


class LiveBucket:
    """A `BucketView` that its owner feeds.

    Writing the same value again renews its revision but is no change: a lease that is refreshed
    once a second wakes nobody.
    """

    def __init__(self, bucket: str, clock: Clock) -> None:
        """Start empty and away."""
        self._bucket = bucket
        self._clock = clock
        self._held: dict[str, Held] = {}
        self._bodies: dict[str, bytes] = {}
        self._revision = 0
        self._connected_since: float | None = None
        self._wake = asyncio.Event()

    def snapshot(self) -> Snapshot:
        """Return the bucket as last known; never waits."""
        held = sorted(self._held.items())
        return Snapshot(
            bucket=self._bucket,
            entries={key: value for key, value in held if isinstance(value, Entry)},
            revision=self._revision,
            connected_since=self._connected_since,
            rejected=tuple(key for key, value in held if isinstance(value, Rejected)),
        )

    async def changed(self, *, timeout_s: float) -> bool:
        """Wait until something changed since the last call; False at the time limit."""
        woken = await wait_for_event(self._clock, self._wake, timeout_s=timeout_s)
        self._wake.clear()
        return woken

    def forget_changes(self) -> None:
        """Count what is known so far as seen."""
        self._wake.clear()

    def apply(self, raw: RawEntry) -> None:
        """Take in one change."""
        held = self._renewed(raw) or decode_entry(raw)
        if raw.body is None:
            self._bodies.pop(raw.key, None)
        else:
            self._bodies[raw.key] = raw.body
        self._store(raw.key, held)

    def replace(self, whole: Mapping[str, RawEntry]) -> None:
        """Take in the whole bucket as just read, and be live."""
        for key in self._held.keys() - whole.keys():
            self._bodies.pop(key, None)
            self._store(key, None)
        for raw in whole.values():
            self.apply(raw)
        if self._connected_since is None:
            self._connected_since = self._clock.now()
            self._wake.set()

    def away(self) -> None:
        """Keep what is known and say that it may be old."""
        if self._connected_since is not None:
            self._connected_since = None
            self._wake.set()

    def _renewed(self, raw: RawEntry) -> Entry | None:
        """Return the entry with its value as it is held, where the same value came once more.

        Most of what comes is that: refreshed leases, and whole buckets that are read again.
        """
        before = self._held.get(raw.key)
        if not isinstance(before, Entry) or self._bodies.get(raw.key) != raw.body:
            return None
        return replace(before, revision=raw.revision, headers=raw.headers)

    def _store(self, key: str, held: Held | None) -> None:
        before = self._held.pop(key, None)
        if held is not None:
            self._held[key] = held
        if not _same(before, held):
            self._revision += 1
            self._wake.set()


def _same(before: Held | None, after: Held | None) -> bool:
    match before, after:
        case Entry(), Entry():
            return before.value is after.value or before.value == after.value
        case Rejected(), Rejected():
            return before.why == after.why
        case _:
            return before is after
