"""Reports that wait for their reader: bounded, the oldest dropped first."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Final

from libs.bus.codec import decode_report
from libs.bus.ports import Headers, Received
from libs.contracts.subjects import report_subject
from libs.errors import TerminalError
from libs.telemetry.logging import get_logger

REPORTS_WAITING_MAX: Final = 1_024
"""A reader that falls this far behind loses the oldest reports: a newer one says more."""

_log = get_logger(__name__)


class ReportQueue:
    """What came in and was not read."""

    def __init__(self) -> None:
        """Start empty."""
        self._waiting: deque[Received] = deque(maxlen=REPORTS_WAITING_MAX)
        self._wake = asyncio.Event()

    def offer(self, subject: str, body: bytes, headers: Headers) -> None:
        """Take one message in; one that cannot be decoded or is about others is left out."""
        try:
            value = decode_report(body)
        except TerminalError as exc:
            _log.debug("report_rejected", subject=subject, error=str(exc))
            return
        if report_subject(value) != subject:
            _log.debug("report_rejected", subject=subject, error="It belongs to another subject.")
            return
        self._waiting.append(Received(subject=subject, value=value, headers=headers))
        self._wake.set()

    async def read(self) -> AsyncIterator[Received]:
        """Hand out reports in the order in which they came; never ends by itself."""
        while True:
            while self._waiting:
                yield self._waiting.popleft()
            self._wake.clear()
            await self._wake.wait()
