"""As much of an HTTP/2 client as one POST needs: it offers `h2` alone and reads frames.

Source: RFC 9113, sections 4 and 6; RFC 7541, section 6.2.3 (fields that are never indexed).
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from libs.testing.certificates import trusting_anything

_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _GOAWAY = 0, 1, 3, 4, 7
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1
_STREAM: Final = 1
_TIMEOUT_S: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Http2Answer:
    """What came back.

    Attributes:
        frames: data frames that were not empty.
    """

    data: bytes
    frames: int


async def post_over_http2(port: int, path: str, body: bytes) -> Http2Answer:
    """Send one request to 127.0.0.1 and return the whole answer.

    Raises:
        AssertionError: the server does not speak HTTP/2 or ends the stream with an error.
    """
    context = trusting_anything()
    context.set_alpn_protocols(["h2"])
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    try:
        assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "h2"
        fields = (
            *((":method", "POST"), (":scheme", "https"), (":path", path)),
            *((":authority", f"127.0.0.1:{port}"), ("content-type", "application/json")),
            ("content-length", str(len(body))),
        )
        writer.write(_PREFACE + _frame(_SETTINGS, 0, 0, b""))
        writer.write(_frame(_HEADERS, _END_HEADERS, _STREAM, _fields(fields)))
        writer.write(_frame(_DATA, _END_STREAM, _STREAM, body))
        async with asyncio.timeout(_TIMEOUT_S):
            return await _answer(reader, writer)
    finally:
        writer.close()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Http2Answer:
    parts: list[bytes] = []
    while True:
        head = await reader.readexactly(9)
        length, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
        payload = await reader.readexactly(length)
        assert kind not in (_RST_STREAM, _GOAWAY), f"the server ended it: {payload!r}"
        if kind == _SETTINGS and not flags & _ACK:
            writer.write(_frame(_SETTINGS, _ACK, 0, b""))
        if kind == _DATA and payload:
            parts.append(payload)
        if kind in (_DATA, _HEADERS) and flags & _END_STREAM:
            return Http2Answer(data=b"".join(parts), frames=len(parts))


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + struct.pack(">BBI", kind, flags, stream) + payload


def _fields(fields: Iterable[tuple[str, str]]) -> bytes:
    """Write each name and value in full: short ones, without indexes and Huffman codes."""
    return b"".join(b"\x10" + _text(name) + _text(value) for name, value in fields)


def _text(text: str) -> bytes:
    assert len(text) < 127, "longer texts have another form"  # noqa: PLR2004 - RFC 7541, 5.1
    return bytes([len(text)]) + text.encode()
