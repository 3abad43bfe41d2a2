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

from libs.haproxy.binary import find_haproxy
from libs.haproxy.config import (
    BASE_FILE,
    LISTING_MAP,
    MODELS_MAP,
    POOLS_FILE,
    EdgeConfig,
    PoolConfig,
    render_base,
    render_map,
    render_pools,
)

START_TIMEOUT_S: Final = 10.0


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


@asynccontextmanager
async def real_haproxy(
    config: EdgeConfig,
    pools: tuple[PoolConfig, ...],
    *,
    routes: tuple[tuple[str, str], ...] = (),
) -> AsyncIterator[RealHaproxy]:
    """Run a HAProxy in the folder of its admin socket while the body runs."""
    folder = config.admin_socket.parent
    for name, text in (
        (BASE_FILE, render_base(config)),
        (POOLS_FILE, render_pools(pools)),
        (MODELS_MAP, render_map(routes)),
        (LISTING_MAP, ""),
    ):
        (folder / name).write_text(text)
    async with haproxy_in(folder) as pid:
        await _wait_for(config.admin_socket)
        yield RealHaproxy(pid=pid, config=config)


@asynccontextmanager
async def haproxy_in(folder: Path) -> AsyncIterator[int]:
    """Start a HAProxy from the files of a folder, with nobody's help, and end it at the end."""
    with (folder / "haproxy.log").open("ab") as log:
        running = await asyncio.create_subprocess_exec(
            str(find_haproxy(_named()).path),
            *("-db", "-C", str(folder), "-f", BASE_FILE, "-f", POOLS_FILE),
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
    async with asyncio.timeout(START_TIMEOUT_S):
        while True:
            if await _answers(socket_path):
                return
            await asyncio.sleep(0.01)


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
