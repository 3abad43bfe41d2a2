"""Asks a replica who it is before HAProxy gets a server for it.

HAProxy takes a server that is new for healthy until its first check, half a second later. So a
lease that names a dead replica's address, where another process listens by now, would lead requests
there until then.
Source: HAProxy 2.8.25, seen: the first check of a server that was added runs after `downinter`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from libs.contracts.health import (
    FRONT_END_HEADER,
    HEALTH_PATH,
    REPLICA_HEADER,
    RUST,
    SERVER_HEADER,
)
from libs.contracts.lease import Address, UnixEndpoint
from services.router_config.domain.model import ServerName, is_twin
from services.router_config.domain.plan import Join

TIMEOUT_S: Final = 0.5
"""A replica that is ready answers within milliseconds; others wait while one does not."""

AT_ONCE_MAX: Final = 64
HEAD_BYTES_MAX: Final = 16 * 1024
STATUS_CHARACTERS_MAX: Final = 80

Vouch = Callable[[Sequence[Join]], Awaitable[Sequence[str]]]
"""Tells of each server that is to join why it must not; empty where its replica is there."""


async def vouch(joins: Sequence[Join]) -> Sequence[str]:
    """Ask the replicas of some servers, many at once, and each once for both of its servers."""
    turns = asyncio.Semaphore(AT_ONCE_MAX)
    mains = {_door(join): False for join in joins}
    mains |= {_door(join): True for join in joins if not is_twin(join.server.key.pool)}

    async def one(name: ServerName, door: Address | None, *, is_main: bool) -> str:
        async with turns:
            return await _objection(name, door, is_main=is_main)

    asking = (one(name, door, is_main=is_main) for (name, door), is_main in mains.items())
    said = dict(zip(mains, await asyncio.gather(*asking), strict=True))
    return [said[_door(join)] for join in joins]


def _door(join: Join) -> tuple[ServerName, Address | None]:
    return join.server.key.name, join.door or join.server.endpoint


async def _objection(name: ServerName, door: Address | None, *, is_main: bool) -> str:
    if door is None:
        return ""  # nothing is known that could be asked, and HAProxy gets no such server
    try:
        async with asyncio.timeout(TIMEOUT_S):
            status, answered = await _ask(door, name, is_main=is_main)
    except (OSError, TimeoutError, EOFError, asyncio.LimitOverrunError) as error:
        return f"{name} does not answer at {door}: {str(error) or type(error).__name__}"
    if answered != name:
        return f"{name} should be at {door}, and {answered or 'another process'} is"
    return "" if status.startswith("2") else f"{name} says that it is not healthy: {status}"


async def _ask(door: Address, name: str, *, is_main: bool) -> tuple[str, str]:
    """Return the status and who answered."""
    reader, writer = await _connect(door)
    try:
        front_end = f"{FRONT_END_HEADER}: {RUST}\r\n" if is_main else ""
        writer.write(
            f"GET {HEALTH_PATH} HTTP/1.0\r\n{SERVER_HEADER}: {name}\r\n{front_end}\r\n".encode()
        )
        return _read(await reader.readuntil(b"\r\n\r\n"))
    finally:
        writer.close()


async def _connect(door: Address) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if isinstance(door, UnixEndpoint):
        return await asyncio.open_unix_connection(door.path, limit=HEAD_BYTES_MAX)
    return await asyncio.open_connection(door.host, door.port, limit=HEAD_BYTES_MAX)


def _read(head: bytes) -> tuple[str, str]:
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    named = {name.strip().lower(): value.strip() for name, _, value in pairs}
    return first.partition(" ")[2][:STATUS_CHARACTERS_MAX], named.get(REPLICA_HEADER, "")
