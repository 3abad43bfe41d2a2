"""Ten thousand flawed requests at a real HAProxy before a replica's real HTTP layer.

Holds for every one of them: HAProxy answers or closes within its time limits, and never says that
it failed itself. Afterwards HAProxy and the replica serve as before.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from opentelemetry.trace import NoOpTracer

from libs.haproxy.commands import ServerSpec
from libs.haproxy.config import Balance, PoolConfig
from libs.testing.asgi import EchoApp
from libs.testing.malformed_requests import FLAWS, GOOD, NOISE_BYTES_MAX, malformed
from libs.testing.real_haproxy import RealHaproxy, edge_config, real_haproxy
from services.replica.adapters.http.door import HttpDoor
from services.replica.adapters.http.middleware import ReplicaMiddleware
from services.replica.adapters.http.server import serving
from services.replica.sockets import TcpSocket

REQUESTS = 10_000
BATCH = 40
TIME_LIMIT_S = 1
"""What HAProxy gives a request to arrive."""

HANGS_AFTER_S = 15.0
"""Far beyond HAProxy's limit, so that a busy machine is no hang."""

WAITING_MAX = 600
"""Connections that have no answer yet; most of them wait for HAProxy's limit."""

REQUEST = st.builds(
    lambda flaws, noise, place: malformed(flaws, noise=noise, place=place),
    st.lists(st.sampled_from(sorted(FLAWS)), min_size=1, max_size=3),
    st.binary(max_size=NOISE_BYTES_MAX),
    st.integers(0, 255),
)


@dataclass(slots=True, kw_only=True)
class Attack:
    """Sends requests, each on a connection of its own, and notes how each one ended.

    Attributes:
        statuses: of first answers; 0 where the edge closed without one.
        hung: requests that got no answer and no end in time.
    """

    port: int
    sent: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    hung: list[bytes] = field(default_factory=list)
    failed: list[tuple[int, bytes]] = field(default_factory=list)
    _open: set[asyncio.Task[None]] = field(default_factory=set)

    async def send(self, requests: Sequence[bytes]) -> None:
        """Send a batch; go on while slow answers are still awaited."""
        for request in requests:
            task = asyncio.create_task(self._one(request))
            self._open.add(task)
            task.add_done_callback(self._open.discard)
        await asyncio.sleep(0)
        while len(self._open) > WAITING_MAX:
            await asyncio.wait(self._open, return_when=asyncio.FIRST_COMPLETED)

    async def settle(self) -> None:
        """Wait for every answer."""
        while self._open:
            await asyncio.wait(self._open)

    async def _one(self, request: bytes) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        answer = b""
        try:
            with suppress(ConnectionError):
                writer.write(request)
                await writer.drain()
            self.sent += 1
            async with asyncio.timeout(HANGS_AFTER_S):
                with suppress(ConnectionError):
                    answer = await reader.read(64)
        except TimeoutError:
            self.hung.append(request)
        finally:
            writer.transport.abort()
        self._note(request, answer)

    def _note(self, request: bytes, answer: bytes) -> None:
        word = answer.partition(b" ")[2][:3]
        status = int(word) if word.isdigit() else 0
        self.statuses[status] += 1
        if status >= 500 and status != 503:
            self.failed.append((status, request))


async def edge_on(stack: AsyncExitStack, folder: Path, app: EchoApp) -> RealHaproxy:
    """Run HAProxy before the application, behind a replica's own HTTP layer."""
    port = TcpSocket(listen_host="127.0.0.1", advertise_host="127.0.0.1")
    stack.callback(port.close)
    layer = ReplicaMiddleware(app, door=HttpDoor(), tracer=NoOpTracer())
    await stack.enter_async_context(serving(layer, port, server_name="r.aa"))
    server = ServerSpec(name="r.aa", number=101, address=str(port.address), weight=16, maxconn=256)
    config = replace(
        edge_config(folder),
        queue_timeout_s=5,
        request_timeout_s=TIME_LIMIT_S,
        client_timeout_s=TIME_LIMIT_S,
        response_timeout_s=5,
    )
    pool = PoolConfig(name="px0", balance=Balance.PREFIX, python_servers=(server,))
    return await stack.enter_async_context(
        real_haproxy(config, (pool,), routes=(("m", "px0:m:python"),))
    )


async def is_served(attack: Attack) -> bool:
    """Tell whether a good request is answered by the replica."""
    reader, writer = await asyncio.open_connection("127.0.0.1", attack.port)
    writer.write(GOOD.render())
    async with asyncio.timeout(HANGS_AFTER_S):
        head = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    return head.startswith(b"HTTP/1.1 200") and b"x-sluice-replica: r.aa" in head


def test_ten_thousand_flawed_requests_break_nothing(folder: Path) -> None:
    """Each is answered or cut off in time; 503 is the only failure that the edge may report."""
    app = EchoApp()
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        edge = runner.run(edge_on(stack, folder, app))
        attack = Attack(port=edge.config.port)

        @settings(
            max_examples=REQUESTS // BATCH,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(st.lists(REQUEST, min_size=BATCH, max_size=BATCH))
        def batch(requests: list[bytes]) -> None:
            runner.run(attack.send(requests))
            assert attack.failed == []

        try:
            batch()
            runner.run(attack.settle())
            served = runner.run(is_served(attack))
        finally:
            runner.run(stack.aclose())

    reached = sum(scope["path"] != "/health" for scope in app.scopes)
    assert attack.sent >= REQUESTS
    assert attack.failed == []
    assert attack.hung == []
    assert served
    assert len(attack.statuses) > 5
    assert reached > 100
