"""uvicorn on a socket of the replica, without its signal handlers and access log."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import uvicorn

from libs.contracts.health import REPLICA_HEADER
from libs.engine.arguments import KEEP_ALIVE_S
from services.replica.sockets import BACKLOG, FrontEndSocket

CUT_AFTER_S: Final = 2
"""How long requests that outlived the drain get to notice the end."""

STARTED_POLL_S: Final = 0.005
START_TIMEOUT_S: Final = 10.0

DATE_PERIOD_S: Final = 1.0
"""The header `Date` counts whole seconds."""

_DATE_TICK: Final = 0
"""uvicorn writes the header at every tenth tick, the 0th among them."""


class PortError(Exception):
    """The HTTP server did not start."""


@contextlib.asynccontextmanager
async def serving(
    app: Any,  # noqa: ANN401 - an ASGI application
    at: FrontEndSocket,
    *,
    server_name: str,
) -> AsyncIterator[None]:
    """Serve an ASGI application at a socket while the body runs.

    Every answer carries `server_name` in its header `x-sluice-replica`; uvicorn adds it, which
    costs less than a layer of ours.

    Raises:
        PortError: the server did not start.
    """
    server = _Server(_config(app, server_name))
    task = asyncio.create_task(  # tidy: allow orphan-task - ended below, with the body
        server.serve(sockets=[at.open()])
    )
    try:
        await _until_started(server, task)
        yield
    finally:
        server.end()
        with contextlib.suppress(asyncio.CancelledError):
            await task


class _Server(uvicorn.Server):
    """Leaves signals to the program that runs it, and sleeps while nothing happens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._ended = asyncio.Event()

    def end(self) -> None:
        """Have `serve` shut down and return."""
        self.should_exit = True
        self._ended.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Shut down; first close the connections of requests that have no byte of an answer.

        HAProxy sends such a request to another replica. uvicorn would answer it with status 500.
        """
        for connection in list(self.server_state.connections):
            cycle = getattr(connection, "cycle", None)
            if cycle is not None and not cycle.response_started:
                cycle.transport.close()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def main_loop(self) -> None:
        """Keep the header `Date` right until the end.

        uvicorn's own loop wakes ten times a second to see whether it should end.
        Source: `main_loop` and `on_tick` in uvicorn/server.py.
        """
        while not await self.on_tick(_DATE_TICK):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(DATE_PERIOD_S):
                    await self._ended.wait()


def _config(app: Any, server_name: str) -> uvicorn.Config:  # noqa: ANN401 - an ASGI application
    return uvicorn.Config(
        app,
        headers=[(REPLICA_HEADER, server_name)],
        http="httptools",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=CUT_AFTER_S,
        backlog=BACKLOG,
    )


async def _until_started(server: uvicorn.Server, task: asyncio.Task[None]) -> None:
    async with asyncio.timeout(START_TIMEOUT_S):
        while not server.started:
            if task.done():
                raise PortError("the HTTP server ended before it had started") from task.exception()
            await asyncio.sleep(STARTED_POLL_S)
