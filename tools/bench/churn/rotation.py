"""Joins and leaves of fake replicas at one edge, each with its time."""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from libs.contracts.lease import ReplicaState
from libs.errors import PeerUnreachableError
from tools.bench.churn.fleet import Fleet
from tools.bench.churn.leases import Leases
from tools.bench.churn.watch import Probe, Servers

JOIN_PATIENCE_S: Final = 10.0
_PROBE_PAUSE_S: Final = 0.001
LEAVE_PATIENCE_S: Final = 60.0


@dataclass(slots=True, kw_only=True)
class Rotation:
    """Who is ready, the oldest first, and what joining and leaving took.

    Attributes:
        lasting: the replica whose leave lasts as long as its stream; it has no time limit and its
            time is not kept.
        joins_s: from the write of the lease `ready` to the first request that the replica got.
        leaves_s: from the write of the lease `draining` to the end of the server in HAProxy.
    """

    fleet: Fleet
    leases: Leases
    probe: Probe
    servers: Servers
    lasting: str = ""
    joins_s: list[float] = field(default_factory=list)
    leaves_s: list[float] = field(default_factory=list)
    _ready: deque[str] = field(default_factory=deque)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    async def join(self) -> None:
        """Let a new replica join and wait until it has answered.

        Raises:
            PeerUnreachableError: it was not asked in time, or the bus or the fleet does not answer.
        """
        name = f"churn-{next(self._numbers)}"
        await self.leases.begin(name, await self.fleet.open(name))
        began_s = time.monotonic()
        asked_at_s, _ = await asyncio.gather(
            self._asked_at(name), self.leases.say(name, ReplicaState.READY)
        )
        self.joins_s.append(asked_at_s - began_s)
        self._ready.append(name)

    async def _asked_at(self, name: str) -> float:
        """Ask the edge until the replica was asked, by the probe or by any client.

        A new replica that the clients have just filled up to the others' level gets no request
        of the probe before their answers end.
        """
        deadline_s = time.monotonic() + JOIN_PATIENCE_S
        while True:
            await self.probe.ask()
            asked_at_s = await self.fleet.asked_at(name)
            if asked_at_s is not None:
                return asked_at_s
            if time.monotonic() > deadline_s:
                raise PeerUnreachableError(f"{name} got no request within {JOIN_PATIENCE_S:g} s")
            await asyncio.sleep(_PROBE_PAUSE_S)

    def oldest(self) -> str:
        """Take the replica that leaves next off the ready ones."""
        return self._ready.popleft()

    async def leave(self, name: str) -> None:
        """Let a replica leave; it serves what it has until its server is gone.

        Raises:
            PeerUnreachableError: its server stayed, or the bus, HAProxy or the fleet is silent.
        """
        began_s = time.perf_counter()
        await self.leases.say(name, ReplicaState.DRAINING)
        patience_s = math.inf if name == self.lasting else LEAVE_PATIENCE_S
        await self.servers.until_gone(name, patience_s=patience_s)
        if name != self.lasting:
            self.leaves_s.append(time.perf_counter() - began_s)
        await self.leases.withdraw(name)
        await self.fleet.close(name)
