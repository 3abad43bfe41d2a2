"""A running stack seen from inside: its processes, its buckets and its HAProxy's own tables.

`./sluice status` is a program that starts, connects and waits for load reports: too slow to time
a recovery with.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import ssl
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
    CONTROLLER = "ray::ServeController"


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
        return not self.lacks(since=since, replicas=replicas)

    def lacks(self, *, since: float, replicas: int) -> tuple[str, ...]:
        """Say what is not as it should be; empty where every part has spoken since a Unix time."""
        wrong = {
            "the API does not answer": not self.answers,
            "no leader": self.led_at is None or self.led_at <= since,
            f"{len(self.leases)} of {replicas} replicas ready": len(self.leases) != replicas,
            "other servers than replicas": self.servers != self.leases.keys(),
            **_routing_faults(self.routing, since=since),
        }
        return tuple(words for words, is_wrong in wrong.items() if is_wrong)


def _routing_faults(routing: RoutingStatus | None, *, since: float) -> dict[str, bool]:
    if routing is None:
        return {"no routing status": True}
    return {
        "old routing status": routing.observed_at <= since,
        f"degraded: {routing.degraded}": routing.degraded != "",
        "HAProxy is down": routing.haproxy_pid is None,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class StackInside:
    """Looks into a stack.

    Attributes:
        trust: what makes the API's certificate good; True where it has none.
    """

    stack: LocalStack
    stack_id: str
    trust: ssl.SSLContext | bool = True

    def pid_of(self, part: Part) -> int | None:
        """Return a part's process id; None while it does not run."""
        pids = (pid for pid in marked(f"SLUICE_STACK_ID={self.stack_id}") if _is(part, pid))
        return min(pids, default=None)

    def serve_logs(self) -> Path:
        """Return the folder of Ray Serve's own logs, which its controller has a file open in.

        Raises:
            AssertionError: no controller runs.
        """
        pid = self.pid_of(Part.CONTROLLER)
        assert pid is not None, "Serve's controller does not run"
        for opened in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                path = opened.readlink()
                if path.name == f"controller_{pid}.log":
                    return path.parent
        message = "Serve's controller has no log"
        raise AssertionError(message)

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
        return asyncio.run(self.look_async())

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

    async def look_async(self) -> Found:
        """Read everything once, inside a running event loop."""
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
            # A request without a key is answered too, with 401.
            async with httpx.AsyncClient(timeout=_ANSWER_S, verify=self.trust) as client:
                reply = await client.get(f"{self.stack.api_url}/v1/models")
                return reply.status_code < httpx.codes.INTERNAL_SERVER_ERROR
        except httpx.HTTPError:
            return False


def _is(part: Part, pid: int) -> bool:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return False
    return part in (Path(words[0]).name, *words[1:3])
