"""Keeps HAProxy serving what the certificate file holds, without a reload."""

from __future__ import annotations

import asyncio
from typing import Never

from libs.errors import PeerUnreachableError
from libs.telemetry.logging import get_logger
from services.router_config.domain.certificate import (
    Offered,
    Replace,
    Served,
    Unusable,
    next_step,
)
from services.router_config.ports import Certificate, Program, Refused

_log = get_logger(__name__)


class CertificateWatch:
    """Looks at the file again and again; without a file there is nothing to do.

    A HAProxy that has just started or was adopted is given the content once more: nobody knows
    from what it started, and giving it the same again changes nothing.
    """

    def __init__(self, certificate: Certificate | None, program: Program) -> None:
        """Take the file, None without TLS, and the program that serves it."""
        self._certificate = certificate
        self._program = program
        self._served: Served | None = None
        self._refused: Unusable | None = None
        self._trouble = ""

    @property
    def trouble(self) -> str:
        """Why the file's content is not what is served, or not what a start would serve."""
        copy = self._certificate.copy_trouble if self._certificate is not None else ""
        return self._trouble or copy

    async def watch(self, *, every_s: float) -> Never:
        """Look this often, until cancelled."""
        while True:
            if self._certificate is not None:
                await self.look(self._certificate)
            await asyncio.sleep(every_s)

    async def look(self, certificate: Certificate) -> None:
        """Look once; a HAProxy that is away or does not answer is left for the next look."""
        pid = self._program.running()
        if pid is None:
            return
        found = certificate.look()
        step = next_step(found, pid=pid, served=self._served, refused=self._refused)
        if isinstance(step, Replace):
            try:
                await self._replace(certificate, Offered(digest=step.digest), pid)
            except PeerUnreachableError as error:
                _log.info("certificate_not_sent", error=str(error))
        else:
            self._tell(step.trouble)

    async def _replace(self, certificate: Certificate, offered: Offered, pid: int) -> None:
        outcome = await certificate.serve()
        if isinstance(outcome, Refused):
            self._refused = Unusable(digest=offered.digest, reason=outcome.reason)
            self._tell(outcome.reason)
            return
        self._served, self._refused = Served(pid=pid, digest=offered.digest), None
        self._tell("")
        _log.info("certificate_served", sha256=offered.digest, haproxy_pid=pid)

    def _tell(self, trouble: str) -> None:
        if trouble and trouble != self._trouble:
            _log.warning("certificate_unusable", reason=trouble)
        self._trouble = trouble
