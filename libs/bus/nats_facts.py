"""Reads the stream of facts up to its end."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from nats.aio.msg import Msg
from nats.js.api import ConsumerConfig

from libs.bus.codec import decode_fact
from libs.bus.nats_feed import Feed, open_feed
from libs.bus.nats_link import Session
from libs.bus.nats_wire import facts_consumer
from libs.bus.ports import StoredFact
from libs.bus.settings import BusSettings
from libs.clock import first_of
from libs.contracts.subjects import FACTS_PROBE, FACTS_STREAM
from libs.errors import PeerUnreachableError, TerminalError
from libs.telemetry.context import only_trace_headers
from libs.telemetry.logging import get_logger

_log = get_logger(__name__)


async def read_facts(
    session: Session, settings: BusSettings, after_sequence: int
) -> AsyncIterator[StoredFact]:
    """Yield what is stored after a place, in order, up to the end as it is now.

    Raises:
        PeerUnreachableError: the connection or the stream went away on the way.
    """
    # Bounded by the stream itself, which holds 256 MiB at most.
    waiting: deque[Msg] = deque()
    arrived = asyncio.Event()

    def take(message: Msg) -> None:
        waiting.append(message)
        arrived.set()

    feed = Feed(settings.heartbeat_s, take)

    def configure(inbox: str) -> ConsumerConfig:
        return facts_consumer(
            inbox, after_sequence=after_sequence, heartbeat_s=settings.heartbeat_s
        )

    async with open_feed(session, FACTS_STREAM, configure, feed):
        while not (feed.caught_up.is_set() and not waiting):
            await _wait(session, feed, arrived)
            while waiting:
                stored = _decoded(waiting.popleft())
                if stored is not None:
                    yield stored
            arrived.clear()


async def _wait(session: Session, feed: Feed, arrived: asyncio.Event) -> None:
    if feed.caught_up.is_set():
        return
    if await first_of(arrived, feed.caught_up, feed.broken, session.lost) in (
        feed.broken,
        session.lost,
    ):
        raise PeerUnreachableError(peer="bus", why="the read of the facts was interrupted")


def _decoded(message: Msg) -> StoredFact | None:
    if message.subject == FACTS_PROBE:
        return None
    sequence = message.metadata.sequence.stream
    try:
        value = decode_fact(message.data)
    except TerminalError as exc:
        _log.warning("fact_rejected", sequence=sequence, error=str(exc))
        return None
    return StoredFact(sequence=sequence, value=value, headers=only_trace_headers(message.headers))
