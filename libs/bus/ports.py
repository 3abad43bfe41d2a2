"""What services need from the bus; `nats_bus.py` is the real one, `libs/testing` has a fake.

Reads are level-triggered: a `BucketView` wakes its reader and hands out whole snapshots.
An event that is lost, repeated or reordered therefore changes nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

from libs.contracts.events import Fact
from libs.contracts.failing import AutoscalerTrouble, FailingModel
from libs.contracts.leader import LeaderClaim
from libs.contracts.lease import ReplicaLease
from libs.contracts.model_spec import ModelSpec
from libs.contracts.reports import DemandReport, LoadReport, RoutingStatus
from libs.contracts.targets import DecidedTarget, ManualTarget
from libs.contracts.tenant import OpenToAll, Tenant

Record = (
    ReplicaLease
    | ModelSpec
    | Tenant
    | OpenToAll
    | ManualTarget
    | DecidedTarget
    | FailingModel
    | AutoscalerTrouble
    | RoutingStatus
    | LeaderClaim
)
"""What a key-value bucket holds."""

Report = LoadReport | DemandReport
"""What travels on core subjects and is never stored."""

Headers = Mapping[str, str]
"""W3C trace context (`traceparent`, `tracestate`) as it stood when the message was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One key's present value."""

    key: str
    value: Record
    revision: int
    headers: Headers


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A whole bucket at one moment.

    Attributes:
        entries: by key; keys whose value cannot be decoded, or is about another key, are left out.
        rejected: those keys, each with the reason in one line.
        revision: counts the changes that this view has seen; it never falls, not even when the
            bus starts again from nothing. Writing an equal value again is no change.
        connected_since: Unix time in seconds since when the view has been whole and live;
            None while the bus is away (the entries are then the last known ones).
        unproven: keys of leases that were older than their TTL when the bucket was read. If clocks
            differ, such a replica may be alive; its next refresh makes the lease an entry. A lease
            that is not refreshed within its TTL leaves this list as well.
    """

    bucket: str
    entries: Mapping[str, Entry]
    revision: int
    connected_since: float | None
    rejected: Mapping[str, str] = field(default_factory=dict)
    unproven: tuple[str, ...] = ()


class BucketView(Protocol):
    """A live copy of one bucket."""

    def snapshot(self) -> Snapshot:
        """Return the bucket as last known; never waits."""
        ...

    async def changed(self, *, timeout_s: float) -> bool:
        """Wait until something changed since the last call; False at the time limit.

        Many changes wake once. A lost or regained connection is a change too.
        One reader per view: the call that is woken takes the change.
        """
        ...


class StateStore(Protocol):
    """Key-value buckets with revisions and leases."""

    def view(self, bucket: str) -> AbstractAsyncContextManager[BucketView]:
        """Open a live copy; entering returns once the bucket has been read whole.

        Raises:
            PeerUnreachableError: the bus did not answer in time.
        """
        ...

    async def get(self, bucket: str, key: str) -> Entry | None:
        """Read one key; None when it is not there.

        One reading cannot tell whether a lease is still refreshed: views can.

        Raises:
            PeerUnreachableError: the bus did not answer in time; so do all the methods below.
            PermissionDeniedError: this user may not do that; so do all the methods below.
            TerminalError: the value cannot be decoded.
        """
        ...

    async def put(self, bucket: str, key: str, value: Record, *, ttl_s: float | None = None) -> int:
        """Write one key whatever it held; with `ttl_s` it expires unless written again in time.

        Returns the new revision. `ttl_s` counts in whole seconds, rounded up.
        """
        ...

    async def put_if(
        self, bucket: str, key: str, value: Record, *, revision: int, ttl_s: float | None = None
    ) -> int | None:
        """Write one key only if it still has this revision (0: only if it is not there).

        Returns the new revision, or None when somebody else was faster.
        """
        ...

    async def delete(self, bucket: str, key: str, *, revision: int | None = None) -> bool:
        """Remove one key; removing what is not there is no error.

        With `revision` only if it still has that one; False if it was changed meanwhile.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One report as it came in."""

    subject: str
    value: Report
    headers: Headers


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFact:
    """One fact of the stream `FACTS`, with its place in it."""

    sequence: int
    value: Fact
    headers: Headers


class EventBus(Protocol):
    """Facts (stored) and reports (not stored)."""

    async def record(self, fact: Fact) -> None:
        """Store a fact; storing the same event id again within two minutes stores it once."""
        ...

    async def report(self, report: Report) -> None:
        """Send a report to whoever listens; nobody listening is no error.

        Raises:
            PeerUnreachableError: the bus is away; this one does not wait for it.
        """
        ...

    def reports(self, subjects: str) -> AbstractAsyncContextManager[AsyncIterator[Received]]:
        """Listen to reports; at most 1,024 wait, beyond that the oldest of them are dropped.

        Listening outlives the connection: it goes on when the bus is back.
        """
        ...

    def facts(self, *, after_sequence: int = 0) -> AsyncIterator[StoredFact]:
        """Read the stored facts after a place, up to the end as it is now.

        Facts of a schema that this version does not know are left out.
        """
        ...
