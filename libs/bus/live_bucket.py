"""A bucket's copy in memory: what both the real bus and its fake hand out as a `BucketView`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from libs.bus.codec import decode_record
from libs.bus.lifetimes import Lifetimes
from libs.bus.ports import Entry, Headers, Snapshot
from libs.bus.record_keys import record_key
from libs.clock import Clock, TimerHandle, wait_for_event
from libs.contracts.checks import line
from libs.errors import TerminalError
from libs.telemetry.logging import get_logger

_log = get_logger(__name__)

TICK_S: Final = 1.0
"""How often a view looks for leases whose time is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RawEntry:
    """A key's value as it came from the bus.

    Attributes:
        body: None for a value that was removed or expired.
        ttl_s: for how long the value was to live from its writing on; None for ever.
        written_at: Unix time in seconds by the bus's clock; None where the bus did not say.
    """

    key: str
    body: bytes | None
    revision: int
    headers: Headers
    ttl_s: float | None = None
    written_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """A value that cannot be decoded or belongs to another key, and why."""

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
        return Rejected(revision=raw.revision, why=line(str(exc)))
    key = record_key(value)
    if key != raw.key:
        return Rejected(revision=raw.revision, why=f"It is about {key}.")
    return Entry(key=raw.key, value=value, revision=raw.revision, headers=raw.headers)


class LiveBucket:
    """A `BucketView` that its owner feeds, and closes.

    Writing the same value again renews its revision but is no change: a lease that is refreshed
    once a second does not wake the reader. A lease that is no longer refreshed leaves the view even
    if the bus still has it; `lifetimes.py` has the rule.
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
        self._lifetimes = Lifetimes()
        self._tick: TimerHandle | None = None

    def snapshot(self) -> Snapshot:
        """Return the bucket as last known; never waits."""
        counts = self._lifetimes.counts
        held = [(key, self._held[key]) for key in sorted(self._held) if counts(key)]
        return Snapshot(
            bucket=self._bucket,
            entries={key: value for key, value in held if isinstance(value, Entry)},
            revision=self._revision,
            connected_since=self._connected_since,
            rejected={key: value.why for key, value in held if isinstance(value, Rejected)},
            unproven=self._lifetimes.unproven,
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
        """Take in one change as it happens."""
        before = self._shown(raw.key)
        self._lifetimes.hear(raw.key, revision=raw.revision, ttl_s=raw.ttl_s)
        self._take(raw, before)
        self._keep_time()

    def replace(self, whole: Mapping[str, RawEntry]) -> None:
        """Take in the whole bucket as just read, and be live."""
        for key in self._held.keys() - whole.keys():
            self._take(RawEntry(key=key, body=None, revision=0, headers={}), self._shown(key))
        for raw in whole.values():
            before = self._shown(raw.key)
            self._lifetimes.read(
                raw.key, revision=raw.revision, ttl_s=raw.ttl_s, age_s=self._age_s(raw)
            )
            self._take(raw, before)
        self._lifetimes.trust()
        if self._connected_since is None:
            self._connected_since = self._clock.now()
            self._wake.set()
        self._keep_time()

    def away(self) -> None:
        """Keep what is known and say that it may be old."""
        self._stop_time()
        self._lifetimes.doubt()
        if self._connected_since is not None:
            self._connected_since = None
            self._wake.set()

    def close(self) -> None:
        """Stop the timer."""
        self._stop_time()

    def _take(self, raw: RawEntry, before: Held | None) -> None:
        held = self._renewed(raw) or decode_entry(raw)
        self._held.pop(raw.key, None)
        self._bodies.pop(raw.key, None)
        if held is None or raw.body is None:
            self._lifetimes.forget(raw.key)
        else:
            self._held[raw.key] = held
            self._bodies[raw.key] = raw.body
        self._note(raw.key, before, self._shown(raw.key))

    def _shown(self, key: str) -> Held | None:
        """Return what a snapshot has of a key."""
        return self._held.get(key) if self._lifetimes.counts(key) else None

    def _age_s(self, raw: RawEntry) -> float:
        return 0.0 if raw.written_at is None else self._clock.now() - raw.written_at

    def _keep_time(self) -> None:
        if self._tick is None and self._connected_since is not None and self._lifetimes:
            self._tick = self._clock.call_later(TICK_S, self._pass_time)

    def _pass_time(self) -> None:
        self._tick = None
        if self._lifetimes.pass_time(TICK_S):
            self._revision += 1
            self._wake.set()
        self._keep_time()

    def _stop_time(self) -> None:
        if self._tick is not None:
            self._tick.cancel()
            self._tick = None

    def _renewed(self, raw: RawEntry) -> Entry | None:
        """Return the entry with its value as it is held, where the same value came once more.

        Most of what comes is that: refreshed leases, and whole buckets that are read again.
        """
        before = self._held.get(raw.key)
        if not isinstance(before, Entry) or self._bodies.get(raw.key) != raw.body:
            return None
        return replace(before, revision=raw.revision, headers=raw.headers)

    def _note(self, key: str, before: Held | None, after: Held | None) -> None:
        if _same(before, after):
            return
        self._revision += 1
        self._wake.set()
        if isinstance(after, Rejected):
            _log.warning("record_rejected", bucket=self._bucket, key=line(key), why=after.why)


def _same(before: Held | None, after: Held | None) -> bool:
    match before, after:
        case Entry(), Entry():
            return before.value is after.value or before.value == after.value
        case Rejected(), Rejected():
            return before.why == after.why
        case _:
            return before is after
