"""Finds out whether what is on disk can be written: nats-server fails silently where it cannot.

After a write that found no room, a stream on disk refuses every further one until the server is
started again, without an answer to the writer, while other streams go on. So each is tried.

Source: nats-server 2.15.1, "Filestore ... Critical write error"; ADR-0018.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Final

import nats.js.errors

from libs.bus.background import running
from libs.bus.nats_link import NatsLink, Session
from libs.bus.nats_wire import delete_headers, fact_headers
from libs.bus.provision import HISTORY_BY_BUCKET, MEMORY_BYTES_MAX_BY_BUCKET
from libs.bus.settings import BusSettings
from libs.contracts.subjects import FACTS_PROBE, FACTS_STREAM, PROBE_KEY, bucket_subject
from libs.errors import PeerUnreachableError, PermissionDeniedError, TerminalError

BUCKETS_ON_DISK: Final = tuple(
    bucket for bucket in HISTORY_BY_BUCKET if bucket not in MEMORY_BYTES_MAX_BY_BUCKET
)


async def failing_streams(settings: BusSettings, *, facts: bool) -> tuple[str, ...]:
    """Return what cannot be written although the server answers.

    In a bucket a key is removed that never was; with `facts` one empty message is stored among the
    facts, which their readers leave out.

    Raises:
        PeerUnreachableError: the server does not answer, so that nothing is known.
    """
    link = NatsLink(settings)
    async with running(link.run()):
        session = await link.session(timeout_s=settings.connect_timeout_s)
        failing = [
            bucket
            for bucket in BUCKETS_ON_DISK
            if not await _takes(session, bucket_subject(bucket, PROBE_KEY), delete_headers({}))
        ]
        if facts and not await _takes(session, FACTS_PROBE, fact_headers({}, uuid.uuid4().hex)):
            failing.append(FACTS_STREAM)
    return tuple(failing)


async def _takes(session: Session, subject: str, headers: Mapping[str, str]) -> bool:
    """Tell whether a write is acknowledged; a stream that is full or missing is not broken."""
    try:
        with session.asking(subject):
            await session.jetstream.publish(subject, b"", headers=dict(headers))
    except PermissionDeniedError:
        raise
    except TerminalError:
        return True
    except PeerUnreachableError as exc:
        if isinstance(exc.__cause__, nats.js.errors.NoStreamResponseError):
            return True
        await _require_answer(session, subject)
        return False
    return True


async def _require_answer(session: Session, subject: str) -> None:
    """Raise `PeerUnreachableError` where the server says nothing at all."""
    with session.asking(subject):
        await session.client.flush()
