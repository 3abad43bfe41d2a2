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
from tools.bench.churn.fleet import Fleet
from tools.bench.churn.leases import Leases
from tools.bench.churn.watch import Probe, Servers

JOIN_PATIENCE_S: Final = 10.0
LEAVE_PATIENCE_S: Final = 60.0


@dataclass(slots=True, kw_only=True)
class Rotation:
    """Who is ready, the oldest first, and what joining and leaving took.

    Attributes:
        lasting: the replica whose leave lasts as long as its stream; it has no time limit and its
            time is not kept.
        joins_s: from the write of the lease `ready` to the replica's first answer.
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
        began_s = time.perf_counter()
        await asyncio.gather(
            self.probe.until_answered_by(name, patience_s=JOIN_PATIENCE_S),
            self.leases.say(name, ReplicaState.READY),
        )
        self.joins_s.append(time.perf_counter() - began_s)
        self._ready.append(name)

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
