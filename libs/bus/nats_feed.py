"""An ordered feed from one stream: gaps, silence and the end of what was stored are noticed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final

import nats.errors
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js.api import ConsumerConfig

from libs.bus.nats_link import Session
from libs.bus.nats_wire import heartbeat_sequence, is_heartbeat

HEARTBEATS_MISSED_MAX: Final = 3

OnMessage = Callable[[Msg], None]


class Feed:
    """What one consumer delivers, in order.

    Attributes:
        caught_up: set once everything that was stored at the start has been delivered.
        broken: set when a message was lost or the server fell silent: open a new feed.
    """

    def __init__(self, heartbeat_s: float, on_message: OnMessage) -> None:
        """Hand every stored message to `on_message`, in order."""
        self.caught_up = asyncio.Event()
        self.broken = asyncio.Event()
        self._silence_s = heartbeat_s * HEARTBEATS_MISSED_MAX
        self._on_message = on_message
        self._delivered = 0
        self._silence: asyncio.TimerHandle | None = None

    async def take(self, message: Msg) -> None:
        """Take in what the server sent; called by the client library."""
        if self.broken.is_set():
            return
        self.listen()
        if is_heartbeat(message):
            self._take_heartbeat(message)
        else:
            self._take_stored(message)

    def listen(self) -> None:
        """Begin to count the silence again."""
        self.stop()
        loop = asyncio.get_running_loop()
        self._silence = loop.call_later(self._silence_s, self.broken.set)

    def stop(self) -> None:
        """Stop counting the silence."""
        if self._silence is not None:
            self._silence.cancel()

    def close(self) -> None:
        """Take in nothing more."""
        self.broken.set()
        self.stop()

    def _take_heartbeat(self, message: Msg) -> None:
        if heartbeat_sequence(message) != self._delivered:
            self.broken.set()
        else:
            self.caught_up.set()

    def _take_stored(self, message: Msg) -> None:
        place = message.metadata
        if place.sequence.consumer != self._delivered + 1:
            self.broken.set()
            return
        self._delivered += 1
        self._on_message(message)
        if place.num_pending == 0:
            self.caught_up.set()


@asynccontextmanager
async def open_feed(
    session: Session,
    stream: str,
    configure: Callable[[str], ConsumerConfig],
    feed: Feed,
) -> AsyncIterator[None]:
    """Let a new consumer of a stream deliver to the feed while the body runs.

    Raises:
        PeerUnreachableError: no answer, or the stream is not there.
    """
    inbox = session.client.new_inbox()
    with session.asking(inbox):
        subscription = await session.client.subscribe(inbox, cb=feed.take)
    try:
        with session.asking(f"$JS.API.CONSUMER.CREATE.{stream}"):
            made = await session.jetstream.add_consumer(stream, configure(inbox))
        feed.listen()
        if not made.num_pending and not (made.delivered and made.delivered.consumer_seq):
            feed.caught_up.set()
        yield
    finally:
        feed.close()
        await _unsubscribe(subscription)


async def _unsubscribe(subscription: Subscription) -> None:
    with suppress(nats.errors.Error, OSError):
        await subscription.unsubscribe()
