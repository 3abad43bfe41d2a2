"""From a request's values to the bytes of an HTTP/1.1 request: pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from tools.bench.load.arrivals import RequestSpec
from tools.bench.load.plan import Endpoint, OutputLength, Target

_AGENT: Final = "sluice-bench"
_PADDING_KEY: Final = b',"user":"'


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestCodec:
    """Writes the requests for one target; everything but prompt and lengths is made once.

    Attributes:
        body_bytes_min: shorter bodies are filled up with a `user` field.
    """

    target: Target
    body_bytes_min: int = 0

    def encode(self, spec: RequestSpec) -> bytes:
        """Return head and body of one request; the prompt must need no JSON escape."""
        body = self._padded(_body(self.target, spec))
        return b"%bcontent-length: %d\r\n\r\n%b" % (head(self.target), len(body), body)

    def _padded(self, body: bytes) -> bytes:
        missing = self.body_bytes_min - len(body)
        if missing <= 0:
            return body
        filler = b"x" * max(1, missing - len(_PADDING_KEY) - 1)
        return body[:-1] + _PADDING_KEY + filler + b'"}'


def head(target: Target) -> bytes:
    """Return the request's head up to its length."""
    lines = [
        f"POST {target.endpoint.path} HTTP/1.1",
        f"host: {urlsplit(target.url).netloc}",
        f"user-agent: {_AGENT}",
        "content-type: application/json",
        *(f"{name}: {value}" for name, value in target.headers),
    ]
    return "".join(f"{line}\r\n" for line in lines).encode("latin-1")


def _body(target: Target, spec: RequestSpec) -> bytes:
    model = json.dumps(target.model).encode()
    if target.endpoint is Endpoint.CHAT:
        asked = b'"messages":[{"role":"user","content":"%b"}]' % spec.prompt
    else:
        asked = b'"prompt":"%b"' % spec.prompt
    fields = [b'"model":' + model, asked, b'"temperature":0']
    fields.append(b'"max_tokens":%d' % spec.output_tokens)
    if target.output_length is OutputLength.EXACT:
        fields.append(b'"min_tokens":%d,"ignore_eos":true' % spec.output_tokens)
    if target.stream:
        fields.append(b'"stream":true,"stream_options":{"include_usage":true}')
    return b"{" + b",".join(fields) + b"}"
