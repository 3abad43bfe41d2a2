"""The bus on a real nats-server: buckets and facts in JetStream, reports on core subjects."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final, Never

import nats.js.errors
from nats.aio.msg import Msg

from libs.bus.background import running
from libs.bus.codec import encode
from libs.bus.live_bucket import LiveBucket, RawEntry, Rejected, decode_entry
from libs.bus.nats_facts import read_facts
from libs.bus.nats_link import NatsLink, Session
from libs.bus.nats_view import follow_bucket
from libs.bus.nats_wire import delete_headers, fact_headers, read_entry, write_headers
from libs.bus.ports import BucketView, Entry, Received, Record, Report, StoredFact
from libs.bus.report_queue import ReportQueue
from libs.bus.settings import BusSettings
from libs.clock import Clock, SystemClock
from libs.contracts.events import Fact, fact_kind, fact_model
from libs.contracts.subjects import bucket_stream, bucket_subject, fact_subject, report_subject
from libs.errors import PeerUnreachableError, TerminalError
from libs.telemetry.context import inject, only_trace_headers

_WRONG_LAST_SEQUENCE: Final = (10_071, 10_164)
"""JetStream's error codes for "somebody else was faster". Source: nats-server, errors.json."""


class NatsBus:
    """A `StateStore` and an `EventBus`; made by `connect`."""

    def __init__(self, link: NatsLink, settings: BusSettings, clock: Clock) -> None:
        """Use a link that somebody else runs."""
        self._link = link
        self._settings = settings
        self._clock = clock

    @property
    def connected(self) -> bool:
        """Whether there is a connection right now."""
        return self._link.current is not None

    @asynccontextmanager
    async def view(self, bucket: str) -> AsyncIterator[BucketView]:
        """Open a live copy; entering returns once the bucket has been read whole.

        Raises:
            PeerUnreachableError: the bus did not answer in time.
        """
        live = LiveBucket(bucket, self._clock)
        async with running(follow_bucket(self._link, self._settings, bucket, live)):
            try:
                await self._wait_whole(live, bucket)
                yield live
            finally:
                live.close()

    async def get(self, bucket: str, key: str) -> Entry | None:
        """Read one key; None when it is not there."""
        raw = await self._last(bucket, key)
        held = decode_entry(raw) if raw else None
        if isinstance(held, Rejected):
            raise TerminalError(held.why, bucket=bucket, key=key)
        return held

    async def put(self, bucket: str, key: str, value: Record, *, ttl_s: float | None = None) -> int:
        """Write one key whatever it held; returns the new revision."""
        headers = write_headers(inject(), ttl_s=ttl_s)
        return await self._store(bucket_subject(bucket, key), encode(value), headers)

    async def put_if(
        self, bucket: str, key: str, value: Record, *, revision: int, ttl_s: float | None = None
    ) -> int | None:
        """Write one key only if it still has this revision (0: only if it is not there)."""
        written = await self._store_if(bucket, key, value, revision, ttl_s)
        if written is not None or revision != 0:
            return written
        mark = await self._last(bucket, key)
        if mark is None or mark.body is not None:
            return None
        return await self._store_if(bucket, key, value, mark.revision, ttl_s)

    async def delete(self, bucket: str, key: str, *, revision: int | None = None) -> bool:
        """Remove one key; with `revision` only if it still has that one."""
        headers = delete_headers(inject(), revision=revision)
        return await self._store_unless_changed(bucket, key, b"", headers) is not None

    async def record(self, fact: Fact) -> None:
        """Store a fact; storing the same event id again within two minutes stores it once."""
        subject = fact_subject(fact_kind(fact), fact_model(fact))
        await self._store(subject, encode(fact), fact_headers(inject(), fact.stamp.event_id))

    async def report(self, report: Report) -> None:
        """Send a report to whoever listens."""
        session = self._link.current
        if session is None:
            raise PeerUnreachableError(peer="bus")
        subject = report_subject(report)
        with session.asking(subject):
            await session.client.publish(subject, encode(report), headers=inject() or None)

    @asynccontextmanager
    async def reports(self, subjects: str) -> AsyncIterator[AsyncIterator[Received]]:
        """Listen to reports, over as many connections as it takes."""
        queue = ReportQueue()
        listening = asyncio.Event()
        async with running(self._listen(subjects, queue, listening)):
            with suppress(TimeoutError):
                async with asyncio.timeout(self._settings.request_timeout_s):
                    await listening.wait()
            yield queue.read()

    async def facts(self, *, after_sequence: int = 0) -> AsyncIterator[StoredFact]:
        """Read the stored facts after a place, up to the end as it is now."""
        session = await self._session()
        async for stored in read_facts(session, self._settings, after_sequence):
            yield stored

    async def _session(self) -> Session:
        return await self._link.session(timeout_s=self._settings.request_timeout_s)

    async def _wait_whole(self, live: LiveBucket, bucket: str) -> None:
        limit_s = self._settings.connect_timeout_s + self._settings.request_timeout_s
        if not await live.changed(timeout_s=limit_s):
            raise PeerUnreachableError(peer="bus", bucket=bucket)

    async def _last(self, bucket: str, key: str) -> RawEntry | None:
        session = await self._session()
        stream, subject = bucket_stream(bucket), bucket_subject(bucket, key)
        with session.asking(f"$JS.API.DIRECT.GET.{stream}.{subject}"):
            try:
                found = await session.jetstream.get_msg(stream, subject=subject, direct=True)
            except nats.js.errors.NotFoundError:
                return None
        return read_entry(bucket, subject, found)

    async def _store(self, subject: str, body: bytes, headers: dict[str, str]) -> int:
        session = await self._session()
        with session.asking(subject):
            ack = await session.jetstream.publish(subject, body, headers=headers)
        return ack.seq

    async def _store_if(
        self, bucket: str, key: str, value: Record, revision: int, ttl_s: float | None
    ) -> int | None:
        headers = write_headers(inject(), ttl_s=ttl_s, revision=revision)
        return await self._store_unless_changed(bucket, key, encode(value), headers)

    async def _store_unless_changed(
        self, bucket: str, key: str, body: bytes, headers: dict[str, str]
    ) -> int | None:
        """Write; None where the key has another revision than the headers say."""
        try:
            return await self._store(bucket_subject(bucket, key), body, headers)
        except TerminalError as exc:
            match exc.__cause__:
                case nats.js.errors.APIError(err_code=code) if code in _WRONG_LAST_SEQUENCE:
                    return None
            raise

    async def _listen(self, subjects: str, queue: ReportQueue, listening: asyncio.Event) -> Never:
        async def take(message: Msg) -> None:
            queue.offer(message.subject, message.data, only_trace_headers(message.headers))

        while True:
            session = await self._link.next_session()
            with suppress(PeerUnreachableError):
                with session.asking(subjects):
                    await session.client.subscribe(subjects, cb=take)
                    await session.client.flush()
                listening.set()
                await session.lost.wait()
            await asyncio.sleep(self._settings.redial_s)


@asynccontextmanager
async def connect(
    settings: BusSettings, *, clock: Clock | None = None, wait: bool = True
) -> AsyncIterator[NatsBus]:
    """Open the bus and keep it open: a lost connection is replaced for as long as the body runs.

    Raises:
        PeerUnreachableError: `wait` is true and there is no connection in time. With `wait` false
            the body runs at once and each call waits for the connection within its own limit.
    """
    link = NatsLink(settings)
    async with running(link.run()):
        if wait:
            await link.session(timeout_s=settings.connect_timeout_s + settings.request_timeout_s)
        yield NatsBus(link, settings, clock or SystemClock())
