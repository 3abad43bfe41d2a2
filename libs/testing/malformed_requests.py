"""Requests that break HTTP or JSON somewhere, made from a good one by flaws: pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

NOISE_BYTES_MAX: Final = 16
_HALF: Final = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """A request before it is bytes.

    Attributes:
        length: the Content-Length that is said; None says none.
        line_end: what ends each line of the head.
        cut: how much of the bytes is sent, as a share of 256; 256 sends all.
    """

    method: bytes = b"POST"
    target: bytes = b"/v1/completions"
    version: bytes = b"HTTP/1.1"
    headers: tuple[bytes, ...] = (b"host: edge",)
    length: bytes | None = None
    body: bytes = b'{"model":"m","prompt":"hi"}'
    line_end: bytes = b"\r\n"
    cut: int = 256

    def with_header(self, line: bytes) -> Parts:
        """Return the request with one more header line."""
        return replace(self, headers=(*self.headers, line))

    def render(self) -> bytes:
        """Return what is sent."""
        lengths = () if self.length is None else (b"content-length: " + self.length,)
        first = b" ".join((self.method, self.target, self.version))
        head = self.line_end.join((first, *self.headers, *lengths, b"", b""))
        whole = head + self.body
        return whole[: max(1, len(whole) * self.cut // 256)]


GOOD: Final = Parts(length=b"27")

Flaw = Callable[[Parts, bytes, int], Parts]
"""Takes a request, some noise of at most 16 bytes, and a place from 0 to 255."""


def _bodies(body: bytes, noise: bytes, place: int) -> tuple[bytes, ...]:
    at = len(body) * place // 256
    return (
        body[:at] + noise + body[at:],
        body[:at],
        b'{"model":"m","model":"p"}',
        b'{"mod\\u0065l":"m"}',
        b'{"model":' + noise + b"}",
        b'{"model":"' + noise + b'"}',
        b'{"model":"m\\u0000\\r\\nx-evil: 1"}',
        b'{"x":{"model":"m"}}',
        b'{"x":"\\"model\\":\\"m\\""}',
        b'{"model":null}',
        b'{"model":["m"]}',
        '{"model":"m"}'.encode("utf-16"),
        b"\xef\xbb\xbf" + body,
        b"[" * 500 + noise,
        noise,
    )


def _broken_body(parts: Parts, noise: bytes, place: int) -> Parts:
    bodies = _bodies(parts.body, noise, place)
    body = bodies[place % len(bodies)]
    return replace(parts, body=body, length=b"%d" % len(body))


def _wrong_length(parts: Parts, noise: bytes, place: int) -> Parts:
    said = (
        b"%d" % (len(parts.body) + 1 + place),
        b"%d" % max(0, len(parts.body) - 1 - place % 20),
        b"-1",
        b"+27",
        b"0x1b",
        b"27, 27",
        b"27, 28",
        b"99999999999999999999999",
        b"8388609",
        b"",
        noise,
    )
    return replace(parts, length=said[place % len(said)])


def _no_length(parts: Parts, noise: bytes, place: int) -> Parts:
    del noise, place
    return replace(parts, length=None)


def _second_length(parts: Parts, noise: bytes, place: int) -> Parts:
    del noise
    return parts.with_header(b"content-length: %d" % place)


def _coded(parts: Parts, noise: bytes, place: int) -> Parts:
    lines = (
        b"transfer-encoding: chunked",
        b"transfer-encoding: xchunked",
        b"transfer-encoding: gzip",
        b"transfer-encoding: gzip, chunked",
        b"transfer-encoding: chunked, identity",
        b"transfer-encoding:\x0bchunked",
        b"transfer-encoding : chunked",
        b"Transfer-Encoding: chunKed",
        b"transfer-encoding: " + noise,
        b"transfer-encoding: chunked\r\ntransfer-encoding: identity",
    )
    body = (b"%x\r\n" % len(parts.body)) + parts.body + b"\r\n0\r\n\r\n"
    changed = parts.with_header(lines[place % len(lines)])
    return replace(changed, body=body) if place >= _HALF else changed


def _odd_header(parts: Parts, noise: bytes, place: int) -> Parts:
    lines = (
        b"x-odd: " + noise,
        noise + b": x",
        noise,
        b": x",
        b"x-folded: a\r\n  b",
        b"x-null: a\x00b",
        b"x bad: y",
        b"x-bare: a\nx-other: b",
        b"x-returns: a\rb",
        b"host: another",
        b"x-model: " + noise,
        b"x-sluice-model: m",
        b"authorization: Bearer " + noise,
        b"expect: 100-continue",
        b"expect: " + noise,
        b"upgrade: h2c\r\nconnection: upgrade, http2-settings\r\nhttp2-settings: AAMAAABk",
        b"upgrade: websocket\r\nconnection: upgrade",
        b"connection: close, " + noise,
        b"traceparent: 00-" + noise,
        b"content-encoding: gzip",
        b"x-session-id: " + noise,
    )
    return parts.with_header(lines[place % len(lines)])


def _many_headers(parts: Parts, noise: bytes, place: int) -> Parts:
    more = tuple(b"x-%d: %b" % (number, noise.hex().encode()) for number in range(place * 2))
    return replace(parts, headers=(*parts.headers, *more))


def _huge_header(parts: Parts, noise: bytes, place: int) -> Parts:
    return parts.with_header(b"x-huge: " + (noise.hex().encode() or b"y") * place * 40)


def _odd_target(parts: Parts, noise: bytes, place: int) -> Parts:
    targets = (
        b"/v1/completions/" + noise,
        b"/models/m/v1/completions",
        b"/models/" + noise + b"/v1/completions",
        b"/models/m%00%0d%0ax-evil:%201/v1/completions",
        b"/models//v1/completions",
        b"/models/%2e%2e/v1/completions",
        b"//v1/completions",
        b"/v1/../v1/completions",
        b"/v1/completions?" + noise,
        b"/v1/completions#x",
        b"http://elsewhere/v1/completions",
        b"elsewhere:443",
        b"*",
        b"",
        noise,
        b"/" + b"a" * place * 40,
    )
    return replace(parts, target=targets[place % len(targets)])


def _odd_method(parts: Parts, noise: bytes, place: int) -> Parts:
    methods = (b"GET", b"PUT", b"post", b"CONNECT", b"OPTIONS", b"TRACE", b"PRI", b"", noise)
    return replace(parts, method=methods[place % len(methods)])


def _odd_version(parts: Parts, noise: bytes, place: int) -> Parts:
    versions = (b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2.0", b"HTTP/9.9", b"HTTP/1.", b"", b"x", noise)
    return replace(parts, version=versions[place % len(versions)])


def _odd_lines(parts: Parts, noise: bytes, place: int) -> Parts:
    ends = (b"\n", b"\r", b"\n\r", b"\r\n\r\n", b"\r\n ", noise)
    return replace(parts, line_end=ends[place % len(ends)])


def _cut_short(parts: Parts, noise: bytes, place: int) -> Parts:
    del noise
    return replace(parts, cut=place)


def _noise_before(parts: Parts, noise: bytes, place: int) -> Parts:
    del place
    return replace(parts, method=noise + parts.method)


FLAWS: Final[Mapping[str, Flaw]] = {
    "broken body": _broken_body,
    "wrong length": _wrong_length,
    "no length": _no_length,
    "second length": _second_length,
    "coded": _coded,
    "odd header": _odd_header,
    "many headers": _many_headers,
    "huge header": _huge_header,
    "odd target": _odd_target,
    "odd method": _odd_method,
    "odd version": _odd_version,
    "odd lines": _odd_lines,
    "cut short": _cut_short,
    "noise before": _noise_before,
}


def malformed(flaws: Sequence[str], *, noise: bytes, place: int) -> bytes:
    """Return a request with these flaws, one after the other; the same input gives the same."""
    parts = GOOD
    for flaw in flaws:
        parts = FLAWS[flaw](parts, noise, place)
    return parts.render()
