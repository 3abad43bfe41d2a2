"""An HTTP server that gives every request the same bytes, and then keeps, closes or breaks off."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from enum import Enum, auto
from typing import Final

_LINGER_NONE: Final = struct.pack("ii", 1, 0)


class Then(Enum):
    """What happens to the connection after the bytes."""

    KEEP = auto()
    CLOSE = auto()
    RESET = auto()


def streamed(*payloads: str) -> bytes:
    """Return a whole answer with one event for each payload."""
    events = [f"data: {payload}\n\n".encode() for payload in payloads]
    chunks = [b"%x\r\n%b\r\n" % (len(event), event) for event in events]
    head = (
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    return head + b"".join(chunks) + b"0\r\n\r\n"


def answered(status: int, body: str, *, closes: bool = False) -> bytes:
    """Return an answer that is not streamed; `closes` says that no other will follow it."""
    text = body.encode()
    said = b"connection: close\r\n" if closes else b""
    length = len(text)
    return b"HTTP/1.1 %d Said\r\n%bcontent-length: %d\r\n\r\n%b" % (status, said, length, text)


@asynccontextmanager
async def canned_server(reply: bytes, then: Then = Then.KEEP) -> AsyncIterator[str]:
    """Run a server while the body runs; yield its URL."""
    open_ones: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_ones.add(writer)
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                await _read_request(reader)
                writer.write(reply)
                await writer.drain()
                if then is not Then.KEEP:
                    break
        if then is Then.RESET:
            opened: socket.socket = writer.get_extra_info("socket")
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NONE)
        writer.close()
        open_ones.discard(writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1 << 24)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for writer in list(open_ones):
            writer.transport.abort()


async def _read_request(reader: asyncio.StreamReader) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    _, found, rest = head.partition(b"content-length:")
    if found:
        await reader.readexactly(int(rest.split(b"\r\n")[0]))
