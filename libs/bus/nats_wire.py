"""Pure translation between JetStream's messages and the bus's own words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, Header, RawStreamMsg

from libs.bus.live_bucket import RawEntry
from libs.contracts.subjects import bucket_key, bucket_subject
from libs.telemetry.context import only_trace_headers

STATUS_HEARTBEAT: Final = "100"
TOMBSTONE_TTL_S: Final = 60
"""How long the mark of a removed key stays; views that were away longer read everything anyway."""

CONSUMER_IDLE_S: Final = 5.0
"""The server forgets a view's consumer this long after its reader went."""

_OPERATION: Final = "KV-Operation"
_MARKER_REASON: Final = "Nats-Marker-Reason"
_LAST_CONSUMER: Final = "Nats-Last-Consumer"


def fed_entry(bucket: str, message: Msg) -> RawEntry:
    """Read what a bucket's stream delivers: a value, or the mark of a removed or expired key."""
    place = message.metadata
    return _raw_entry(
        bucket_key(bucket, message.subject),
        message.data,
        message.headers,
        revision=place.sequence.stream,
        written_at=place.timestamp,
    )


def read_entry(bucket: str, subject: str, found: RawStreamMsg) -> RawEntry:
    """Read what a bucket answers about one key."""
    return _raw_entry(
        bucket_key(bucket, subject),
        found.data,
        found.headers,
        revision=found.seq or 0,
        written_at=found.time,
    )


def _raw_entry(
    key: str,
    body: bytes | None,
    headers: Mapping[str, str] | None,
    *,
    revision: int,
    written_at: datetime | None,
) -> RawEntry:
    """Build an entry.

    Source: NATS ADR-8 (`KV-Operation`) and ADR-43 (`Nats-Marker-Reason`, `Nats-TTL`).
    """
    said = headers or {}
    gone = _OPERATION in said or _MARKER_REASON in said
    ttl = said.get(Header.MSG_TTL.value, "")
    return RawEntry(
        key=key,
        body=None if gone else body or b"",
        revision=revision,
        headers=only_trace_headers(headers),
        ttl_s=float(ttl) if ttl.isascii() and ttl.isdecimal() and not gone else None,
        written_at=written_at.timestamp() if written_at else None,
    )


def write_headers(
    trace: Mapping[str, str], *, ttl_s: float | None = None, revision: int | None = None
) -> dict[str, str]:
    """Build the headers of a write; `revision` is what the key must still have."""
    headers = dict(trace)
    if ttl_s is not None:
        headers[Header.MSG_TTL.value] = str(max(1, math.ceil(ttl_s)))
    if revision is not None:
        headers[Header.EXPECTED_LAST_SUBJECT_SEQUENCE.value] = str(revision)
    return headers


def delete_headers(trace: Mapping[str, str], *, revision: int | None = None) -> dict[str, str]:
    """Build the headers of a removal that leaves no lasting trace in the bucket."""
    rollup = {_OPERATION: "PURGE", Header.ROLLUP.value: "sub"}
    return write_headers(trace, ttl_s=TOMBSTONE_TTL_S, revision=revision) | rollup


def fact_headers(trace: Mapping[str, str], event_id: str) -> dict[str, str]:
    """Build the headers of a fact: the server stores a message id once."""
    return dict(trace) | {Header.MSG_ID.value: event_id}


def is_heartbeat(message: Msg) -> bool:
    """Tell an idle heartbeat from a stored message."""
    return (message.headers or {}).get(Header.STATUS.value) == STATUS_HEARTBEAT


def heartbeat_sequence(message: Msg) -> int:
    """Return how many messages the server has sent to this consumer."""
    return int((message.headers or {}).get(_LAST_CONSUMER, "0"))


def view_consumer(deliver_to: str, bucket: str, *, heartbeat_s: float) -> ConsumerConfig:
    """Describe a consumer that sends every key's last value, then every change."""
    config = _push_consumer(deliver_to, heartbeat_s, DeliverPolicy.LAST_PER_SUBJECT)
    config.filter_subject = bucket_subject(bucket, ">")
    return config


def facts_consumer(deliver_to: str, *, after_sequence: int, heartbeat_s: float) -> ConsumerConfig:
    """Describe a consumer that sends what is stored after a place."""
    policy = DeliverPolicy.BY_START_SEQUENCE
    config = _push_consumer(deliver_to, heartbeat_s, policy)
    config.opt_start_seq = after_sequence + 1
    return config


def _push_consumer(deliver_to: str, heartbeat_s: float, policy: DeliverPolicy) -> ConsumerConfig:
    return ConsumerConfig(
        deliver_subject=deliver_to,
        deliver_policy=policy,
        ack_policy=AckPolicy.NONE,
        max_deliver=1,
        idle_heartbeat=heartbeat_s,
        inactive_threshold=CONSUMER_IDLE_S,
        mem_storage=True,
        num_replicas=1,
    )
