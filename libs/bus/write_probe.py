"""Check whether streams on disk accept writes.

After a write that found no room, nats-server answers no further write to that stream until it is
restarted; other streams keep working. Each stream is therefore tried.

Source: nats-server 2.15.1, "Filestore ... Critical write error"; ADR-0018.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping

import nats.js.errors

from libs.bus.background import running
from libs.bus.nats_link import NatsLink, Session
from libs.bus.nats_wire import delete_headers, fact_headers
from libs.bus.provision import HISTORY_BY_BUCKET
from libs.bus.settings import BusSettings
from libs.contracts.subjects import FACTS_PROBE, FACTS_STREAM, PROBE_KEY, bucket_subject
from libs.errors import PeerUnreachableError, PermissionDeniedError, TerminalError


async def failing_streams(settings: BusSettings, *, facts: bool) -> tuple[str, ...]:
    """Return the streams that take no write although the server answers.

    A bucket is probed by removing a key that no record has. With `facts` one empty message is
    stored in the stream of facts; readers of facts skip it.

    Raises:
        PeerUnreachableError: the server does not answer, so that nothing is known.
    """
    link = NatsLink(settings)
    async with running(link.run()):
        session = await link.session(timeout_s=settings.connect_timeout_s)
        failing = [
            bucket
            for bucket in HISTORY_BY_BUCKET
            if not await _takes(session, bucket_subject(bucket, PROBE_KEY), delete_headers({}))
        ]
        if facts and not await _takes(session, FACTS_PROBE, fact_headers({}, uuid.uuid4().hex)):
            failing.append(FACTS_STREAM)
    return tuple(failing)


async def _takes(session: Session, subject: str, headers: Mapping[str, str]) -> bool:
    """Tell whether a write works; a stream at its own limit or a missing one counts as working."""
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
