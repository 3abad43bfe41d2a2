"""Looks at the edge from outside: who answers a request, and which servers HAProxy has."""

from __future__ import annotations

import asyncio
import math
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import httpx

from libs.errors import PeerUnreachableError
from libs.haproxy.client import HaproxyClient
from libs.haproxy.commands import ShowServersState
from libs.haproxy.tables import parse_servers_state

_LOOK_PAUSE_S: Final = 0.02
_UNTRACED: Final = {"traceparent": f"00-{1:032x}-{1:016x}-00"}
"""A client's own decision: what only polls gives the edge no spans to write."""


@dataclass(slots=True, kw_only=True)
class Probe:
    """Sends small requests.

    Attributes:
        sent: how many so far.
        errors: how many of them failed, by kind.
    """

    http: httpx.AsyncClient
    model: str
    sent: int = 0
    errors: dict[str, int] = field(default_factory=dict)

    async def ask(self) -> None:
        """Send one; a failure is counted."""
        body = {"model": self.model, "max_tokens": 1}
        self.sent += 1
        try:
            answer = await self.http.post("/v1/completions", json=body, headers=_UNTRACED)
        except httpx.HTTPError as exc:
            self._count(type(exc).__name__)
            return
        if answer.status_code != httpx.codes.OK:
            self._count(f"http_{answer.status_code}")

    def _count(self, kind: str) -> None:
        name = f"probe_{kind}"
        self.errors[name] = self.errors.get(name, 0) + 1

    def forget(self) -> None:
        """Count from here: before the first replica every request fails."""
        self.sent = 0
        self.errors.clear()


@dataclass(slots=True, kw_only=True)
class Servers:
    """Which replicas have a server in HAProxy; looked at once for all who wait."""

    client: HaproxyClient
    _seen: set[str] = field(default_factory=set)
    _seen_at_s: float = -math.inf
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def until_gone(self, name: str, *, patience_s: float) -> None:
        """Wait until HAProxy has no server of this replica.

        Raises:
            PeerUnreachableError: it still had one.
        """
        began_s = time.monotonic()
        while True:
            # A look that HAProxy does not answer says nothing; the next one may.
            with suppress(PeerUnreachableError):
                if name not in await self._replicas(since_s=began_s):
                    return
            if time.monotonic() > began_s + patience_s:
                raise PeerUnreachableError(f"{name} was not removed within {patience_s:g} s")
            await asyncio.sleep(_LOOK_PAUSE_S)

    async def _replicas(self, *, since_s: float) -> set[str]:
        """Look, unless somebody just did; a server's name is `<replica_id>.<incarnation>`."""
        async with self._turn:
            now_s = time.monotonic()
            if self._seen_at_s < max(since_s, now_s - _LOOK_PAUSE_S):
                text = await self.client.query(ShowServersState())
                self._seen = {each.name.rpartition(".")[0] for each in parse_servers_state(text)}
                self._seen_at_s = now_s
            return self._seen
