"""Everything around router-config: a real nats-server, fake replicas, clients of the edge.

router-config itself runs as a process of its own, so that a test can kill it.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import httpx

from libs.bus.nats_bus import NatsBus, connect
from libs.bus.permissions import ADMIN, ROUTER_CONFIG
from libs.bus.ports import StateStore
from libs.contracts.ids import Incarnation
from libs.contracts.lease import FrontEnd, ReplicaLease, ReplicaState
from libs.contracts.model_spec import ModelSpec
from libs.contracts.reports import RoutingStatus
from libs.contracts.subjects import (
    MODELS_BUCKET,
    REPLICAS_BUCKET,
    ROUTING_BUCKET,
    lease_key,
)
from libs.errors import PeerUnreachableError
from libs.haproxy.client import HaproxyClient
from libs.haproxy.commands import AdminState, ShowServersState
from libs.haproxy.tables import parse_servers_state
from libs.testing.eventually import eventually
from libs.testing.fake_replica import FakeReplica, Script, fake_replica
from libs.testing.free_port import free_port
from libs.testing.nats_server import NatsServer, nats_server
from libs.testing.real_haproxy import short_folder
from libs.testing.records import a_lease

EDGE: Final = "edge"
START_TIMEOUT_S: Final = 30.0
_REPO: Final = Path(__file__).resolve().parents[2]
_PREFIX: Final = "SLUICE_ROUTER_CONFIG_"


@dataclass(slots=True, kw_only=True)
class RouterConfigProcess:
    """router-config as its supervisor runs it; what it prints is in `router-config.log`.

    Attributes:
        disk_is_full: no file that it or its HAProxy writes can grow. The kernel refuses each write,
            as it does on a full disk, by a limit of the process: RLIMIT_FSIZE, setrlimit(2).
        started_at: Unix time in seconds of the last start; an earlier status is the previous
            process's.
    """

    folder: Path
    settings: dict[str, str]
    disk_is_full: bool = False
    started_at: float = 0.0
    _running: asyncio.subprocess.Process | None = None

    async def start(self, **settings: object) -> None:
        """Start it; settings are named as in `settings.py` and stay for the next start."""
        self.settings |= {name: str(value) for name, value in settings.items()}
        named = {f"{_PREFIX}{name.upper()}": value for name, value in self.settings.items()}
        self.started_at = time.time()
        with (self.folder / "router-config.log").open("ab") as log:
            self._running = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "services.router_config"),
                cwd=_REPO,
                env={**os.environ, **named},
                stdout=log,
                stderr=log,
                preexec_fn=_fill_disk if self.disk_is_full else None,
                process_group=0,  # a terminal's Ctrl-C is for the one who started it
            )

    async def kill(self) -> None:
        """End it as `kill -9` does."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> int:
        """End it politely and return its exit code."""
        return await self._end(signal.SIGTERM)

    async def interrupt(self) -> int:
        """End it with its HAProxy, as its supervisor does, and return its exit code."""
        return await self._end(signal.SIGINT)

    def free_disk(self) -> None:
        """Let files grow again."""
        assert self._running is not None, "router-config is not running"
        self.disk_is_full = False
        everything = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        resource.prlimit(self._running.pid, resource.RLIMIT_FSIZE, everything)

    async def ended(self) -> int:
        """Wait until it ends by itself and return its exit code."""
        assert self._running is not None, "router-config is not running"
        async with asyncio.timeout(START_TIMEOUT_S):
            code = await self._running.wait()
        self._running = None
        return code

    async def _end(self, number: signal.Signals) -> int:
        if self._running is None:
            return 0
        running, self._running = self._running, None
        with suppress(ProcessLookupError):
            running.send_signal(number)
        async with asyncio.timeout(START_TIMEOUT_S):
            return await running.wait()


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontEndPair:
    """The two front ends of one replica."""

    name: str
    rust: FakeReplica
    python: FakeReplica


@dataclass(slots=True, kw_only=True)
class EdgeWorld:
    """One edge with everything that it needs."""

    edge_id: str = EDGE
    folder: Path
    nats: NatsServer
    bus: NatsBus
    router_config: RouterConfigProcess
    http: httpx.AsyncClient
    _stack: AsyncExitStack
    leases: dict[str, ReplicaLease] = field(default_factory=dict)

    async def replica(self, name: str, script: Script | None = None) -> FakeReplica:
        """Run a replica that nobody knows yet."""
        return await self._stack.enter_async_context(fake_replica(name, script))

    async def front_ends(self, name: str, script: Script | None = None) -> FrontEndPair:
        """Run both front ends of a replica on unix sockets; it has no lease yet."""
        rust = fake_replica(f"{name}-rust", script, path=self.folder / f"{name}.r.sock")
        python = fake_replica(f"{name}-python", script, path=self.folder / f"{name}.p.sock")
        pair = FrontEndPair(
            name=name,
            rust=await self._stack.enter_async_context(rust),
            python=await self._stack.enter_async_context(python),
        )
        pair.python.rust = pair.rust
        return pair

    async def join_pair(
        self,
        pair: FrontEndPair,
        *,
        model: str = "m",
        rust_names: tuple[str, ...] = ("m",),
        incarnation: str = "0a1b2c3d",
    ) -> None:
        """Let a replica with both front ends say that it is ready; its lease does not expire."""
        lease = replace(
            a_lease(pair.name, model=model),
            incarnation=Incarnation(incarnation),
            address=pair.rust.address,
            python_address=pair.python.address,
            front_end=FrontEnd.RUST,
            rust_names=rust_names,
            started_at=time.time(),
        )
        await self.say(lease)

    async def declare(self, *models: ModelSpec) -> None:
        """Declare models."""
        for model in models:
            await self.bus.put(MODELS_BUCKET, model.name, model)

    async def join(
        self, replica: FakeReplica, *, model: str = "m", incarnation: str = "0a1b2c3d"
    ) -> None:
        """Let a replica say that it is ready; its lease does not expire."""
        lease = replace(
            a_lease(replica.name, model=model),
            incarnation=Incarnation(incarnation),
            address=replica.address,
            started_at=time.time(),
        )
        await self.say(lease)

    async def say(self, lease: ReplicaLease, state: ReplicaState | None = None) -> None:
        """Write a lease, in another state on request."""
        said = lease if state is None else replace(lease, state=state)
        self.leases[lease.replica_id] = said
        await self.bus.put(REPLICAS_BUCKET, lease_key(said.model, said.replica_id), said)

    async def forget(self, replica: FakeReplica) -> None:
        """Let a replica's lease expire."""
        lease = self.leases[replica.name]
        await self.bus.delete(REPLICAS_BUCKET, lease_key(lease.model, lease.replica_id))

    async def ask(self, model: str = "m") -> httpx.Response:
        """Send one request."""
        return await self.http.post("/v1/chat/completions", json={"model": model})

    async def until_up(self) -> None:
        """Wait until the edge answers."""

        async def healthy() -> bool:
            with suppress(httpx.HTTPError):
                return (await self.http.get("/health")).status_code == httpx.codes.OK
            return False

        await eventually(healthy, within_s=START_TIMEOUT_S, what="a healthy edge")

    async def until_answers(
        self, status: int, *, model: str = "m", by: FakeReplica | None = None
    ) -> httpx.Response:
        """Wait until a request gets this status, from this replica if one is given."""

        async def answer() -> httpx.Response | None:
            with suppress(httpx.HTTPError):
                found = await self.ask(model)
                served_by = found.headers.get("x-sluice-replica")
                if found.status_code == status and (by is None or served_by == by.name):
                    return found
            return None

        found = await eventually(answer, within_s=START_TIMEOUT_S, what=f"{status} for {model}")
        assert found is not None
        return found

    async def until_listed(self, model: str) -> None:
        """Wait until the edge knows a model."""

        async def listed() -> bool:
            return (await self.http.get(f"/v1/models/{model}")).status_code == httpx.codes.OK

        await eventually(listed, within_s=START_TIMEOUT_S, what=f"{model} on the list")

    async def status(self) -> RoutingStatus | None:
        """Return what the edge says of itself; None if there is nothing or the bus is too slow."""
        with suppress(PeerUnreachableError):
            return await read_status(self.bus, edge_id=self.edge_id)
        return None

    async def servers(self) -> dict[str, AdminState]:
        """Return the servers of HAProxy's pools, by name; its own backends are left out."""
        client = HaproxyClient(self.folder / "run" / "admin.sock", timeout_s=5)
        states = parse_servers_state(await client.query(ShowServersState()))
        return {state.name: state.admin for state in states if state.pool[:2] in ("lc", "px")}

    async def another(self, edge_id: str) -> EdgeWorld:
        """Run a second edge on the same bus, with a router-config and a HAProxy of its own."""
        folder = self._stack.enter_context(short_folder())
        made = await _edge(
            self._stack, folder=folder, nats=self.nats, bus=self.bus, edge_id=edge_id
        )
        await made.router_config.start()
        await made.until_up()
        return made

    def kill_haproxy(self) -> None:
        """End HAProxy as `kill -9` does."""
        os.kill(haproxy_pid(self.folder), signal.SIGKILL)

    async def until_servers(self, count: int) -> RoutingStatus:
        """Wait until the edge that runs now says that it has this many ready servers."""

        async def ready() -> RoutingStatus | None:
            found = await self.status()
            if found is None or found.observed_at < self.router_config.started_at:
                return None
            return found if found.servers_ready == count else None

        found = await eventually(ready, within_s=START_TIMEOUT_S, what=f"{count} servers")
        assert found is not None
        return found

    def log_lines(self, event: str) -> list[dict[str, object]]:
        """Return router-config's log lines about one event."""
        text = (self.folder / "router-config.log").read_text()
        lines = (json.loads(line) for line in text.splitlines() if line.startswith("{"))
        return [line for line in lines if line.get("event") == event]


async def read_status(store: StateStore, *, edge_id: str = EDGE) -> RoutingStatus | None:
    """Read an edge's status record."""
    entry = await store.get(ROUTING_BUCKET, edge_id)
    return entry.value if entry and isinstance(entry.value, RoutingStatus) else None


@asynccontextmanager
async def edge_world(*, start: bool = True) -> AsyncIterator[EdgeWorld]:
    """Run nats-server and, unless told otherwise, router-config with its HAProxy."""
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(short_folder())
        (folder / "nats").mkdir()
        nats = await stack.enter_async_context(nats_server(folder / "nats"))
        bus = await stack.enter_async_context(connect(nats.settings(ADMIN)))
        world = await _edge(stack, folder=folder, nats=nats, bus=bus)
        if start:
            await world.router_config.start()
            await world.until_up()
        yield world


async def _edge(
    stack: AsyncExitStack,
    *,
    folder: Path,
    nats: NatsServer,
    bus: NatsBus,
    edge_id: str = EDGE,
) -> EdgeWorld:
    """Prepare an edge; its router-config is not started yet."""
    settings = _settings(folder, nats) | {"edge_id": edge_id}
    router_config = RouterConfigProcess(folder=folder, settings=settings)
    http = httpx.AsyncClient(base_url=f"http://127.0.0.1:{settings['api_port']}", timeout=30)
    await stack.enter_async_context(http)
    stack.push_async_callback(_end_haproxy, folder)
    stack.push_async_callback(router_config.stop)
    return EdgeWorld(
        edge_id=edge_id,
        folder=folder,
        nats=nats,
        bus=bus,
        router_config=router_config,
        http=http,
        _stack=stack,
    )


def _fill_disk() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))


def haproxy_pid(folder: Path) -> int:
    """Return the pid that router-config wrote down."""
    return int((folder / "run" / "haproxy.pid").read_text())


async def _end_haproxy(folder: Path) -> None:
    """End a HAProxy that a killed router-config left behind."""
    with suppress(OSError, ValueError):
        os.kill(haproxy_pid(folder), signal.SIGKILL)


def _settings(folder: Path, nats: NatsServer) -> dict[str, str]:
    credentials = nats.write_credentials(ROUTER_CONFIG, folder / "router-config.json")
    return {
        "edge_id": EDGE,
        "state_dir": str(folder / "state"),
        "run_dir": str(folder / "run"),
        "traces_dir": str(folder / "traces"),
        "replica_sockets_dir": str(folder),
        "nats_credentials_file": str(credentials),
        "api_port": str(free_port()),
        "stop_timeout_s": "1",
        "hold_timeout_s": "0",
    }
