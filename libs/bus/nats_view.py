"""Keeps a `LiveBucket` equal to its bucket on the server, through every kind of interruption.

One round of `follow_bucket` is: read the bucket whole into a staging area, replace the live copy,
apply changes as they come, and begin again when the feed breaks or the resync is due. A lost
connection marks the copy as away and the next session starts with a whole read.
"""

from __future__ import annotations

import asyncio
from typing import Never

from nats.aio.msg import Msg
from nats.js.api import ConsumerConfig

from libs.bus.live_bucket import LiveBucket, RawEntry
from libs.bus.nats_feed import Feed, open_feed
from libs.bus.nats_link import NatsLink, Session
from libs.bus.nats_wire import fed_entry, view_consumer
from libs.bus.settings import BusSettings
from libs.clock import first_of
from libs.contracts.subjects import bucket_stream
from libs.errors import ControlPlaneError, PeerUnreachableError
from libs.telemetry.logging import get_logger

_log = get_logger(__name__)


class _Intake:
    """Collects a whole bucket first and passes changes on after that."""

    def __init__(self, bucket: str, live: LiveBucket) -> None:
        self._bucket = bucket
        self._live = live
        self._staged: dict[str, RawEntry] | None = {}
        self._mentioned: set[str] = set()

    def take(self, message: Msg) -> None:
        """Take one stored message in."""
        raw = fed_entry(self._bucket, message)
        self._mentioned.add(raw.key)
        if self._staged is None:
            self._live.apply(raw)
        elif raw.body is None:
            self._staged.pop(raw.key, None)
        else:
            self._staged[raw.key] = raw

    def go_live(self) -> None:
        """Replace the live copy by what was collected; changes pass through from here on."""
        staged, self._staged = self._staged, None
        if staged is None:
            return
        if self._live.snapshot().entries.keys() - self._mentioned:
            # A removed key leaves a mark. These keys left none, so the bus has lost them: begin the
            # view anew, as after a restart of the bus.
            self._live.away()
        self._live.replace(staged)


async def follow_bucket(
    link: NatsLink, settings: BusSettings, bucket: str, live: LiveBucket
) -> Never:
    """Keep the live copy equal to the bucket; ends only by cancellation."""
    complained = False
    while True:
        session = await link.next_session()
        try:
            await _follow_once(session, settings, bucket, live)
            complained = False
        except ControlPlaneError as exc:
            live.away()
            if not complained and not session.lost.is_set():
                _log.warning("bus_view_interrupted", bucket=bucket, error=str(exc))
            complained = True
            await asyncio.sleep(settings.redial_s)


async def _follow_once(
    session: Session, settings: BusSettings, bucket: str, live: LiveBucket
) -> None:
    intake = _Intake(bucket, live)
    feed = Feed(settings.heartbeat_s, intake.take)
    stream = bucket_stream(bucket)

    def configure(inbox: str) -> ConsumerConfig:
        return view_consumer(inbox, bucket, heartbeat_s=settings.heartbeat_s)

    async with open_feed(session, stream, configure, feed):
        await _wait_caught_up(session, settings, feed)
        # Nothing is awaited between the last stored message and this line that could lose one:
        # what arrived meanwhile was staged too.
        intake.go_live()
        await _wait_for_end(session, settings, feed)
    if session.lost.is_set():
        live.away()


async def _wait_caught_up(session: Session, settings: BusSettings, feed: Feed) -> None:
    try:
        async with asyncio.timeout(settings.request_timeout_s):
            first = await first_of(feed.caught_up, feed.broken, session.lost)
    except TimeoutError as exc:
        raise PeerUnreachableError(peer="bus", why="the bucket could not be read whole") from exc
    if first is not feed.caught_up:
        raise PeerUnreachableError(peer="bus", why="the read of the bucket was interrupted")


async def _wait_for_end(session: Session, settings: BusSettings, feed: Feed) -> None:
    try:
        async with asyncio.timeout(settings.resync_s):
            await first_of(feed.broken, session.lost)
    except TimeoutError:
        return
