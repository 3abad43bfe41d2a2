"""Makes the buckets and the stream that Sluice needs; needs the user `admin`.

Run it after every start of the server: it changes nothing where everything is as it should be,
and a server that lost its disk gets everything again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

import nats.js.errors
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig

from libs.bus.background import running
from libs.bus.nats_link import NatsLink
from libs.bus.settings import BusSettings
from libs.contracts.subjects import (
    FACTS_STREAM,
    FACTS_SUBJECTS,
    LEADERS_BUCKET,
    MODELS_BUCKET,
    REPLICAS_BUCKET,
    ROUTING_BUCKET,
    TARGETS_BUCKET,
    TENANTS_BUCKET,
    bucket_stream,
    bucket_subject,
)
from libs.errors import PeerUnreachableError

HISTORY_BY_BUCKET: Final = {
    REPLICAS_BUCKET: 1,
    MODELS_BUCKET: 16,
    TENANTS_BUCKET: 16,
    TARGETS_BUCKET: 16,
    LEADERS_BUCKET: 1,
    ROUTING_BUCKET: 1,
}
"""Every bucket, and how many revisions of each key it keeps."""

LEASE_BUCKETS: Final = (REPLICAS_BUCKET, LEADERS_BUCKET, ROUTING_BUCKET)
"""Buckets whose values all expire unless their writer refreshes them."""

BUCKET_BYTES_MAX: Final = 64 * 1024 * 1024
FACTS_BYTES_MAX: Final = 256 * 1024 * 1024
FACTS_AGE_MAX_S: Final = 7 * 24 * 3600.0
FACTS_DEDUPE_S: Final = 120.0
"""A fact that is sent again within this time is stored once."""

MARKER_TTL_S: Final = 60.0
"""How long the server keeps the mark of an expired key: long enough to reach every watcher."""

_RETRY_S: Final = 0.2


def bucket_config(bucket: str, history: int) -> StreamConfig:
    """Describe the stream behind a bucket; its keys may have TTLs.

    Source: NATS ADR-8 (buckets as streams) and ADR-43 (per-message TTL and limit markers).
    """
    return StreamConfig(
        name=bucket_stream(bucket),
        subjects=[bucket_subject(bucket, ">")],
        retention=RetentionPolicy.LIMITS,
        storage=StorageType.FILE,
        discard=DiscardPolicy.NEW,
        max_msgs_per_subject=history,
        max_bytes=BUCKET_BYTES_MAX,
        max_msgs=-1,
        max_consumers=-1,
        num_replicas=1,
        duplicate_window=FACTS_DEDUPE_S,
        allow_rollup_hdrs=True,
        allow_direct=True,
        allow_msg_ttl=True,
        deny_delete=True,
        subject_delete_marker_ttl=MARKER_TTL_S,
    )


def facts_config() -> StreamConfig:
    """Describe the stream of facts: bounded by age and size, the oldest leave first."""
    return StreamConfig(
        name=FACTS_STREAM,
        subjects=[FACTS_SUBJECTS],
        retention=RetentionPolicy.LIMITS,
        storage=StorageType.FILE,
        discard=DiscardPolicy.OLD,
        max_age=FACTS_AGE_MAX_S,
        max_bytes=FACTS_BYTES_MAX,
        max_msgs=-1,
        max_consumers=-1,
        num_replicas=1,
        duplicate_window=FACTS_DEDUPE_S,
        deny_delete=True,
    )


async def provision(settings: BusSettings, *, timeout_s: float = 10.0) -> None:
    """Make or correct every bucket and the stream of facts; safe to repeat.

    Raises:
        PeerUnreachableError: the server or its JetStream was not there within `timeout_s`.
        TerminalError: the server refused, for example for want of room.
    """
    await _until_done(settings, _make_all, timeout_s=timeout_s)


async def forget_leases(settings: BusSettings, *, timeout_s: float = 10.0) -> None:
    """Empty the buckets of leases; only safe when no process that writes leases is running.

    Raises as `provision`.
    """
    await _until_done(settings, _purge_leases, timeout_s=timeout_s)


async def _until_done(
    settings: BusSettings, do: Callable[[JetStreamContext], Awaitable[None]], *, timeout_s: float
) -> None:
    link = NatsLink(settings)
    try:
        async with asyncio.timeout(timeout_s), running(link.run()):
            await _repeat(link, do)
    except TimeoutError as exc:
        raise PeerUnreachableError(peer="bus", url=settings.credentials.url) from exc


async def _repeat(link: NatsLink, do: Callable[[JetStreamContext], Awaitable[None]]) -> None:
    while True:
        if await _is_done(link, do):
            return
        await asyncio.sleep(_RETRY_S)


async def _is_done(link: NatsLink, do: Callable[[JetStreamContext], Awaitable[None]]) -> bool:
    session = await link.next_session()
    try:
        with session.asking("$JS.API.STREAM.CREATE"):
            await do(session.jetstream)
    except PeerUnreachableError:
        return False
    return True


async def _make_all(jetstream: JetStreamContext) -> None:
    buckets = [bucket_config(bucket, history) for bucket, history in HISTORY_BY_BUCKET.items()]
    for config in (*buckets, facts_config()):
        await _make(jetstream, config)


async def _purge_leases(jetstream: JetStreamContext) -> None:
    for bucket in LEASE_BUCKETS:
        await jetstream.purge_stream(bucket_stream(bucket))


async def _make(jetstream: JetStreamContext, config: StreamConfig) -> None:
    """Make a stream that is missing, or correct the one that is there.

    A server that finds a stream's folder damaged leaves the stream out. Making it again recovers
    the messages that are whole, but not the damaged description beside them, so the next restart
    would leave it out again; only a change of the stream writes the description anew.
    Source: seen with nats-server 2.15.1.
    """
    if await _is_missing(jetstream, config):
        await jetstream.add_stream(config)
        await jetstream.update_stream(replace(config, description="being made"))
    await jetstream.update_stream(config)


async def _is_missing(jetstream: JetStreamContext, config: StreamConfig) -> bool:
    try:
        await jetstream.stream_info(str(config.name))
    except nats.js.errors.NotFoundError:
        return True
    return False
