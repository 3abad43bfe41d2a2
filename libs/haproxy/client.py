"""Transport of the runtime API: one unix connection for each command line.

A connection of its own keeps replies apart without any framing, and costs about 0.1 ms.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from libs.errors import PeerGoneError, PeerUnreachableError
from libs.haproxy.codec import (
    Ok,
    Rejected,
    Reply,
    broken_off,
    is_whole,
    map_chunks,
    parse_replies,
    parse_reply,
    render,
    render_all,
    split_answers,
)
from libs.haproxy.commands import (
    AbortCertificate,
    AddToMap,
    CertificateCommand,
    CommitCertificate,
    CommitMap,
    MapCommand,
    MapEdit,
    PrepareMap,
    Query,
    ServerCommand,
    SetCertificate,
)

REPLY_BYTES_MAX: Final = 64 * 1024 * 1024
PAYLOAD_BYTES_MAX: Final = 32 * 1024
"""Half of the bufsize that `config.py` writes, which bounds a whole command."""


class HaproxyClient:
    """Talks to the admin socket of one HAProxy.

    Where a call raises `PeerUnreachableError`, it is a `PeerGoneError` if nothing is there;
    every other one may come from a HAProxy that is merely slow, and serves.
    """

    def __init__(self, socket_path: Path, *, timeout_s: float) -> None:
        self._path = socket_path
        self._timeout_s = timeout_s

    async def query(self, query: Query) -> str:
        """Ask, and return HAProxy's text.

        Raises:
            PeerUnreachableError: HAProxy is not there, too slow, says too much, or ended meanwhile.
        """
        text = await self._exchange(render(query))
        if not is_whole(text):
            raise broken_off(text)
        return text

    async def query_all(self, queries: Sequence[Query]) -> list[str]:
        """Ask several things in one line, in their order.

        Raises:
            PeerUnreachableError: as for `query`.
            UnreadableReplyError: the answers cannot be told apart.
        """
        return split_answers(await self._exchange(render_all(queries)), count=len(queries))

    async def execute_all(self, commands: Sequence[ServerCommand | MapEdit]) -> Reply:
        """Send several commands in one line; one that is refused does not stop the others.

        Raises:
            PeerUnreachableError: as for `query`; which commands were done is then unknown.
        """
        return parse_replies(commands, await self._exchange(render_all(commands)))

    async def execute(self, command: ServerCommand | MapCommand | CertificateCommand) -> Reply:
        """Send one command and say whether HAProxy did it.

        Raises:
            PeerUnreachableError: as for `query`; whether the command was done is then unknown.
        """
        return parse_reply(command, await self._exchange(render(command)))

    async def replace_map(self, file: str, entries: tuple[tuple[str, str], ...]) -> Reply:
        """Replace all entries of a map at once: no request sees a part of the change.

        Raises:
            PeerUnreachableError: as for `query`; the served version is the old or the new one.
        """
        versions = await self.replace_maps({file: entries})
        return versions if isinstance(versions, Rejected) else Ok(version=versions[file])

    async def replace_maps(
        self, wanted: Mapping[str, tuple[tuple[str, str], ...]]
    ) -> Mapping[str, int] | Rejected:
        """Replace all entries of several maps, and return the versions that are served then.

        All are filled first and committed in one line: hardly a request sees some old, some new.

        Raises:
            PeerUnreachableError: as for `query`; every served version is an old or a new one.
        """
        commits: list[CommitMap] = []
        for file, entries in wanted.items():
            filled = await self._fill(file, entries)
            if isinstance(filled, Rejected):
                return filled
            commits.append(filled)
        said = await self._exchange(render_all(commits)) if commits else ""
        if said.strip():
            return Rejected(text=" ".join(said.split()))
        return {commit.file: commit.version for commit in commits}

    async def _fill(self, file: str, entries: tuple[tuple[str, str], ...]) -> CommitMap | Rejected:
        """Fill a new version of a map, and return the command that will serve it."""
        prepared = await self.execute(PrepareMap(file=file))
        if isinstance(prepared, Rejected) or prepared.version is None:
            return prepared if isinstance(prepared, Rejected) else Rejected(text="no version")
        for chunk in map_chunks(entries, payload_bytes_max=PAYLOAD_BYTES_MAX):
            add = AddToMap(file=file, version=prepared.version, entries=chunk)
            added = await self.execute(add)
            if isinstance(added, Rejected):
                return added
        return CommitMap(file=file, version=prepared.version)

    async def replace_certificate(self, file: str, pem: str) -> Reply:
        """Serve another content of a certificate file; connections that exist keep theirs.

        Raises:
            PeerUnreachableError: HAProxy does not answer; it serves the old or the new one.
        """
        offered = await self.execute(SetCertificate(file=file, pem=pem))
        if isinstance(offered, Rejected):
            return offered
        committed = await self.execute(CommitCertificate(file=file))
        if isinstance(committed, Rejected):
            await self.execute(AbortCertificate(file=file))
        return committed

    async def _exchange(self, line: str) -> str:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._send(line)
        except (FileNotFoundError, ConnectionRefusedError) as exc:
            raise PeerGoneError(peer="haproxy", cause=repr(exc)) from exc
        except (OSError, TimeoutError) as exc:
            raise PeerUnreachableError(peer="haproxy", cause=repr(exc)) from exc

    async def _send(self, line: str) -> str:
        reader, writer = await asyncio.open_unix_connection(str(self._path))
        try:
            writer.write(line.encode())
            await writer.drain()
            reply = await _read_bounded(reader)
        finally:
            writer.close()
        return reply.decode(errors="replace")


async def _read_bounded(reader: asyncio.StreamReader) -> bytes:
    parts: list[bytes] = []
    size = 0
    while part := await reader.read(256 * 1024):
        size += len(part)
        if size > REPLY_BYTES_MAX:
            raise PeerUnreachableError("HAProxy's reply is too long", bytes_max=REPLY_BYTES_MAX)
        parts.append(part)
    return b"".join(parts)
