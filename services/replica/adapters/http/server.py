"""uvicorn on a socket of the replica, without its signal handlers and access log."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import uvicorn

from libs.engine.arguments import KEEP_ALIVE_S
from services.replica.sockets import BACKLOG, FrontEndSocket

REPLICA_HEADER: Final = "x-sluice-replica"

CUT_AFTER_S: Final = 2
"""How long requests that outlived the drain get to notice the end."""

STARTED_POLL_S: Final = 0.005
START_TIMEOUT_S: Final = 10.0


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
        server.should_exit = True
        with contextlib.suppress(asyncio.CancelledError):
            await task


class _Server(uvicorn.Server):
    """Leaves signals to whoever runs the process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


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
