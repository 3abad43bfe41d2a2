"""A running stack seen from inside: its processes, its buckets and its HAProxy's own tables.

`./sluice status` is a program that starts, connects and waits for load reports: too slow to time
a recovery with.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

import httpx

from libs.bus.nats_bus import connect
from libs.bus.ports import Record
from libs.bus.settings import BusSettings, read_credentials
from libs.contracts.leader import LeaderClaim
from libs.contracts.lease import ReplicaLease, ReplicaState
from libs.contracts.reports import RoutingStatus
from libs.contracts.subjects import LEADERS_BUCKET, REPLICAS_BUCKET, ROUTING_BUCKET
from libs.errors import ControlPlaneError
from libs.haproxy.client import HaproxyClient
from libs.haproxy.commands import AdminState, ShowServersState
from libs.haproxy.tables import parse_servers_state
from libs.testing.local_stack import LocalStack, wait_until
from libs.testing.ray_node import marked

_ANSWER_S: Final = 1.0
_POOL: Final = re.compile(r"(lc|px)\d+(-py)?")
"""The edge has backends of its own as well."""

_ADMIN_SOCKET: Final = re.compile(r"stats socket (\S+)")


class Part(StrEnum):
    """One process of a stack; the value is a word of its command line."""

    SUPERVISOR = "supervisor.supervisord"
    NATS = "nats-server"
    ROUTER_CONFIG = "services.router_config"
    AUTOSCALER = "services.autoscaler"
    RAY = "deploy.local.kept_ray"
    GCS = "gcs_server"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What was read at one moment; None where nobody answered in time.

    Attributes:
        leases: server names of the replicas that say `ready`, with their process ids.
        servers: names of the replicas to whose servers, one or two, HAProxy sends requests.
        led_at: when the autoscaler last claimed to lead, Unix time in seconds.
    """

    routing: RoutingStatus | None
    leases: dict[str, int]
    servers: set[str]
    led_at: float | None
    answers: bool

    def is_whole(self, *, since: float, replicas: int) -> bool:
        """Tell whether every part has spoken since a Unix time, and all of one state."""
        return (
            self.answers
            and self.routing is not None
            and self.routing.observed_at > since
            and self.routing.degraded == ""
            and self.routing.haproxy_pid is not None
            and self.led_at is not None
            and self.led_at > since
            and len(self.leases) == replicas
            and self.servers == self.leases.keys()
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StackInside:
    """Looks into a stack."""

    stack: LocalStack
    stack_id: str

    def pid_of(self, part: Part) -> int | None:
        """Return a part's process id; None while it does not run."""
        pids = (pid for pid in marked(f"SLUICE_STACK_ID={self.stack_id}") if _is(part, pid))
        return min(pids, default=None)

    @contextmanager
    def nobody_restarts_anything(self) -> Iterator[None]:
        """Hold still who would start a dead part again: supervisord, and the Ray node's program."""
        found = (self.pid_of(part) for part in (Part.SUPERVISOR, Part.RAY))
        nurses = [pid for pid in found if pid is not None]
        assert len(nurses) == 2, "supervisord or the Ray node does not run"  # noqa: PLR2004
        for pid in nurses:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in nurses:
                os.kill(pid, signal.SIGCONT)

    def look(self) -> Found:
        """Read everything once."""
        return asyncio.run(self._look())

    def until_whole(
        self, *, since: float = 0.0, replicas: int = 2, within_s: float, what: str
    ) -> Found:
        """Look until everything is whole (see `Found.is_whole`), and return what was seen then.

        Raises:
            AssertionError: the time is over.
        """
        found: list[Found] = []

        def whole() -> bool:
            found.append(self.look())
            return found[-1].is_whole(since=since, replicas=replicas)

        wait_until(whole, timeout_s=within_s, what=what)
        return found[-1]

    async def _look(self) -> Found:
        records, servers, answers = await asyncio.gather(
            self._records(), self._servers(), self._answers()
        )
        leases = [each for each in records if isinstance(each, ReplicaLease)]
        claims = [each.claimed_at for each in records if isinstance(each, LeaderClaim)]
        return Found(
            routing=next((each for each in records if isinstance(each, RoutingStatus)), None),
            leases={
                f"{lease.replica_id}.{lease.incarnation}": lease.pid
                for lease in leases
                if lease.state is ReplicaState.READY
            },
            servers=servers,
            led_at=max(claims, default=None),
            answers=answers,
        )

    async def _records(self) -> list[Record]:
        credentials = read_credentials(self.stack.run / "secrets" / "nats-cli.json")
        settings = BusSettings(
            credentials=credentials,
            name="test",
            connect_timeout_s=_ANSWER_S,
            request_timeout_s=_ANSWER_S,
        )
        found: list[Record] = []
        with suppress(ControlPlaneError):
            async with connect(settings) as bus:
                for bucket in (REPLICAS_BUCKET, ROUTING_BUCKET, LEADERS_BUCKET):
                    async with bus.view(bucket) as view:
                        found += [each.value for each in view.snapshot().entries.values()]
        return found

    async def _servers(self) -> set[str]:
        written = (self.stack.var / "haproxy" / "base.cfg").read_text()
        named = _ADMIN_SOCKET.search(written)
        assert named is not None, "HAProxy's configuration names no admin socket"
        client = HaproxyClient(Path(named[1].strip('"')), timeout_s=_ANSWER_S)
        try:
            states = parse_servers_state(await client.query(ShowServersState()))
        except ControlPlaneError:
            return set()
        servers = [state for state in states if _POOL.fullmatch(state.pool)]
        unable = {s.name for s in servers if s.admin is not AdminState.READY or s.up is False}
        return {server.name for server in servers} - unable

    async def _answers(self) -> bool:
        try:
            async with httpx.AsyncClient(timeout=_ANSWER_S) as client:
                return (await client.get(f"{self.stack.api_url}/v1/models")).is_success
        except httpx.HTTPError:
            return False


def _is(part: Part, pid: int) -> bool:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return False
    return part in (Path(words[0]).name, *words[1:3])
