"""A server that only streams: `python -m tools.bench.load.trivial_server STEP_MS`.

It answers every POST with as many chunks as `max_tokens` says, one per step to every stream, as an
engine does, and does nothing else; it is what the generator's own ceiling is measured against. It
prints its port, and ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import re
import sys
from typing import Final, cast

import uvloop

MODEL: Final = "trivial"
_MAX_TOKENS: Final = re.compile(rb'"max_tokens":(\d+)')
_LENGTH: Final = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
)


def _chunk(payload: bytes) -> bytes:
    event = b"data: " + payload + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(event), event)


_TOKEN: Final = _chunk(
    b'{"id":"chatcmpl-0123456789abcdef","object":"chat.completion.chunk","created":1700000000,'
    b'"model":"trivial","choices":[{"index":0,"delta":{"content":" word"},"logprobs":null,'
    b'"finish_reason":null,"token_ids":null}]}'
)
_LAST: Final = _chunk(b"[DONE]") + b"0\r\n\r\n"
_MODELS: Final = b'{"object":"list","data":[{"id":"trivial","object":"model","owned_by":"vllm"}]}'


class Stream(asyncio.Protocol):
    """One connection.

    Attributes:
        left: chunks that are still owed.
    """

    def __init__(self, streams: set[Stream]) -> None:
        self.left = 0
        self._streams = streams
        self._asked = b""
        self._tokens = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Begin an answer when the request is whole."""
        self._asked += data
        head, blank, body = self._asked.partition(b"\r\n\r\n")
        if not blank:
            return
        if head.startswith(b"GET"):
            self._asked = b""
            length = b"content-length: %d\r\n\r\n" % len(_MODELS)
            self._transport.write(b"HTTP/1.1 200 OK\r\n" + length + _MODELS)
            return
        length_found, tokens_found = _LENGTH.search(head), _MAX_TOKENS.search(body)
        if length_found and tokens_found and len(body) >= int(length_found[1]):
            self._asked, self.left = b"", int(tokens_found[1])
            self._tokens = self.left
            self._transport.write(_HEAD)
            self._streams.add(self)

    def step(self) -> None:
        """Write the next chunk; after the last one, the end."""
        if self.left:
            self._transport.write(_TOKEN)
            self.left -= 1
            return
        usage = b'{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":%d}}' % self._tokens
        self._transport.write(_chunk(usage) + _LAST)
        self._streams.discard(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the stream."""
        del exc
        self._streams.discard(self)


async def _serve(step_s: float) -> None:
    streams: set[Stream] = set()
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    server = await loop.create_server(lambda: Stream(streams), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    loop.add_reader(sys.stdin.fileno(), over.set)
    while not over.is_set():
        for stream in tuple(streams):
            stream.step()
        await asyncio.sleep(step_s)
    server.close()


if __name__ == "__main__":
    uvloop.run(_serve(float(sys.argv[1]) / 1000))
