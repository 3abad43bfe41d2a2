"""A real HAProxy with Sluice's own configuration, in a short folder of the test's."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from libs.errors import PeerUnreachableError
from libs.haproxy.binary import find_haproxy
from libs.haproxy.body_reader import READER_FILE, render_reader
from libs.haproxy.config import (
    ACCESS_KEY,
    ACCESS_OPEN,
    BASE_FILE,
    FAILING_MAP,
    LISTING_MAP,
    MODELS_MAP,
    POOLS_FILE,
    TENANTS_MAP,
    EdgeConfig,
    PoolConfig,
    render_base,
    render_map,
    render_pools,
    render_scripts,
)
from libs.testing.free_port import free_port

START_TIMEOUT_S: Final = 10.0
EVERYBODY: Final = ((ACCESS_KEY, ACCESS_OPEN),)
"""The map of tenants of an edge that is open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RealHaproxy:
    """A running HAProxy."""

    pid: int
    config: EdgeConfig


@contextmanager
def short_folder() -> Iterator[Path]:
    """Make a folder whose path leaves room for a socket's name within 107 bytes."""
    folder = Path(tempfile.mkdtemp(prefix="sl-", dir="/tmp"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def edge_config(folder: Path) -> EdgeConfig:
    """Return the product's defaults on a free port of loopback, with all sockets in a folder."""
    return EdgeConfig(
        admin_socket=folder / "admin.sock",
        span_socket=folder / "span.sock",
        host="127.0.0.1",
        port=free_port(),
        stats_port=None,
    )


@asynccontextmanager
async def real_haproxy(
    config: EdgeConfig,
    pools: tuple[PoolConfig, ...],
    *,
    routes: tuple[tuple[str, str], ...] = (),
    tenants: tuple[tuple[str, str], ...] = EVERYBODY,
) -> AsyncIterator[RealHaproxy]:
    """Run a HAProxy in the folder of its admin socket while the body runs."""
    folder = config.admin_socket.parent
    for name, text in (
        (BASE_FILE, render_base(config)),
        (POOLS_FILE, render_pools(pools)),
        (MODELS_MAP, render_map(routes)),
        (LISTING_MAP, ""),
        (FAILING_MAP, ""),
        *render_scripts(config).items(),
        (TENANTS_MAP, render_map(tenants)),
    ):
        (folder / name).write_text(text)
    async with haproxy_in(folder) as pid:
        await _wait_for(config.admin_socket)
        yield RealHaproxy(pid=pid, config=config)


@asynccontextmanager
async def real_body_reader(config: EdgeConfig) -> AsyncIterator[RealHaproxy]:
    """Run the body reader of an edge while the body runs."""
    folder = config.admin_socket.parent
    (folder / READER_FILE).write_text(render_reader(config))
    async with haproxy_in(folder, READER_FILE) as pid:
        await _wait_for(config.large_socket)
        yield RealHaproxy(pid=pid, config=config)


@asynccontextmanager
async def haproxy_in(folder: Path, *files: str) -> AsyncIterator[int]:
    """Start a HAProxy from the files of a folder, with nobody's help, and end it at the end.

    Without names of files it is the edge.
    """
    named = (word for file in files or (BASE_FILE, POOLS_FILE) for word in ("-f", file))
    with (folder / "haproxy.log").open("ab") as log:
        running = await asyncio.create_subprocess_exec(
            str(find_haproxy(_named()).path),
            *("-db", "-C", str(folder), *named),
            stdout=log,
            stderr=log,
        )
    try:
        yield running.pid
    finally:
        if running.returncode is None:
            running.kill()
        await running.wait()


async def _wait_for(socket_path: Path) -> None:
    try:
        async with asyncio.timeout(START_TIMEOUT_S):
            while True:
                if await _answers(socket_path):
                    return
                await asyncio.sleep(0.01)
    except TimeoutError as exc:
        said = (socket_path.parent / "haproxy.log").read_text(errors="replace")
        raise PeerUnreachableError(peer="haproxy", cause=said[-2000:]) from exc


async def _answers(socket_path: Path) -> bool:
    try:
        _, writer = await asyncio.open_unix_connection(str(socket_path))
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


def _named() -> Path | None:
    named = os.environ.get("HAPROXY")
    return Path(named) if named else None
