"""One real HAProxy, empty, under router-config's own loop in this process, with a real NATS.

A second HAProxy answers the health checks of all the servers, so that the first one has what it
would have to do in production, and nothing else here takes CPU time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from opentelemetry.sdk.trace import TracerProvider

from libs.bus.background import running
from libs.bus.nats_bus import NatsBus, connect
from libs.bus.permissions import ADMIN, ROUTER_CONFIG
from libs.bus.settings import BusSettings
from libs.errors import PeerUnreachableError
from libs.haproxy.binary import find_haproxy
from libs.testing.free_port import free_port
from libs.testing.nats_server import NatsServer, nats_server
from libs.testing.real_haproxy import short_folder
from services.router_config.service import RouterConfig
from services.router_config.settings import RouterConfigSettings
from services.router_config.wiring import wire

_PATIENCE_S: Final = 10.0
"""A busy machine shows in the times that are measured, and ends no run."""

_POLL_S: Final = 0.02
_ATTEMPTS_MAX: Final = 500

_ANSWERING: Final = """
global
    maxconn 4000
defaults
    mode http
    timeout connect 10s
    timeout client 10s
    timeout server 10s
frontend health
    http-request return status 200 hdr x-sluice-replica %[req.hdr(x-sluice-server)]
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmptyEdge:
    """A HAProxy that has nothing yet, the loop that will fill it, and the bus that it follows."""

    bus: NatsBus
    loop: RouterConfig
    haproxy_pid: int


@asynccontextmanager
async def empty_edge() -> AsyncIterator[EmptyEdge]:
    """Start NATS, HAProxy and the loop's views of the bus; nobody but the body reconciles.

    Raises:
        UsageError: there is no HAProxy that can be used.
        TransientError: HAProxy did not come up.
    """
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(short_folder())
        (folder / "nats").mkdir()
        nats = await stack.enter_async_context(nats_server(folder / "nats"))
        admin = BusSettings(credentials=nats.credentials(ADMIN), request_timeout_s=_PATIENCE_S)
        bus = await stack.enter_async_context(connect(admin))
        app = await stack.enter_async_context(wire(_settings(folder, nats), TracerProvider()))
        await app.service.bring_up()
        stack.push_async_callback(app.program.stop, timeout_s=0)
        await stack.enter_async_context(running(app.service.follow()))
        yield EmptyEdge(bus=bus, loop=app.service, haproxy_pid=app.program.running() or 0)


@asynccontextmanager
async def health_answers(hosts: Sequence[str]) -> AsyncIterator[int]:
    """Answer 200 to every request at every host, on one port, which is handed out.

    Raises:
        PeerUnreachableError: the addresses cannot be listened on.
    """
    port = free_port()
    with short_folder() as folder:
        binds = "".join(f"    bind {host}:{port}\n" for host in hosts)
        (folder / "health.cfg").write_text(_ANSWERING + binds)
        with (folder / "health.log").open("wb") as log:
            answering = await asyncio.create_subprocess_exec(
                str(find_haproxy(None).path),
                *("-db", "-f", str(folder / "health.cfg")),
                stdout=log,
                stderr=log,
            )
        try:
            await _until_listening(hosts[-1], port)
            yield port
        finally:
            answering.kill()
            await answering.wait()


async def _until_listening(host: str, port: int) -> None:
    for _ in range(_ATTEMPTS_MAX):
        if await _listens(host, port):
            return
        await asyncio.sleep(_POLL_S)
    raise PeerUnreachableError(peer="the answers to health checks", host=host)


async def _listens(host: str, port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    writer.close()
    return True


def _settings(folder: Path, nats: NatsServer) -> RouterConfigSettings:
    credentials = nats.write_credentials(ROUTER_CONFIG, folder / "router-config.json")
    return RouterConfigSettings(
        state_dir=folder / "state",
        run_dir=folder / "run",
        nats_credentials_file=credentials,
        api_port=free_port(),
        command_timeout_s=_PATIENCE_S,
        log_level="error",
    )
