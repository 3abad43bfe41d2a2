"""Clients that mean harm, or are broken: a real HAProxy before a replica's real HTTP layer."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from opentelemetry.trace import NoOpTracer

from libs.haproxy.commands import ServerSpec
from libs.haproxy.config import Balance, EdgeConfig, PoolConfig
from libs.testing.asgi import EchoApp
from libs.testing.eventually import eventually
from libs.testing.fake_replica import FakeReplica, Script
from libs.testing.real_haproxy import RealHaproxy, edge_config, real_haproxy
from services.replica.adapters.http.door import HttpDoor
from services.replica.adapters.http.middleware import ReplicaMiddleware
from services.replica.adapters.http.server import serving
from services.replica.sockets import TcpSocket

GOOD = b'POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 13\r\n\r\n{"model":"m"}'
BEHIND = b"POST /v1/load_lora_adapter HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}"
"""What must never reach a replica, in or behind another request's body."""


@pytest.fixture
async def app() -> EchoApp:
    """Return an application in vLLM's place, which keeps what it saw."""
    return EchoApp()


@pytest.fixture
def config(folder: Path) -> EdgeConfig:
    """Be impatient."""
    return replace(
        edge_config(folder),
        queue_timeout_s=1,
        request_timeout_s=1,
        client_timeout_s=2,
        response_timeout_s=20,
    )


@pytest.fixture
async def edge(
    config: EdgeConfig, app: EchoApp, replica: FakeReplica
) -> AsyncIterator[RealHaproxy]:
    """Run HAProxy: `m` is the application behind a replica's HTTP layer, `slow` is a fake."""
    port = TcpSocket(listen_host="127.0.0.1", advertise_host="127.0.0.1")
    layer = ReplicaMiddleware(app, door=HttpDoor(), tracer=NoOpTracer())
    async with serving(layer, port, server_name="r.aa"):
        pools = tuple(
            PoolConfig(
                name=f"lc{number}",
                balance=Balance.LEAST_LOADED,
                python_servers=(
                    ServerSpec(
                        name="r.aa", number=101, address=str(endpoint), weight=16, maxconn=8
                    ),
                ),
            )
            for number, endpoint in enumerate((port.address, replica.endpoint))
        )
        routes = (("m", "lc0:m:python"), ("slow", "lc1:slow:python"))
        async with real_haproxy(config, pools, routes=routes) as running:
            yield running
    port.close()


def seen_by(app: EchoApp) -> list[tuple[str, bytes]]:
    """Return what reached the application, health checks left out."""
    paths = [str(scope["path"]) for scope in app.scopes]
    return [each for each in zip(paths, app.bodies, strict=True) if each[0] != "/health"]


async def exchange(port: int, sent: bytes, *, within_s: float = 6.0) -> bytes:
    """Send bytes, and read until the edge closes or has said nothing for a moment."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    said = b""
    try:
        writer.write(sent)
        await writer.drain()
        async with asyncio.timeout(within_s):
            said = await reader.read(65536)
            while part := await asyncio.wait_for(reader.read(65536), 0.3):
                said += part
    except (TimeoutError, ConnectionError):
        pass
    finally:
        writer.close()
    return said


def with_headers(*lines: bytes, body: bytes = b'{"model":"m"}', length: bool = True) -> bytes:
    """Return a completion request with more header lines."""
    said = [b"content-length: %d" % len(body)] if length else []
    head = b"\r\n".join((b"POST /v1/completions HTTP/1.1", b"host: x", *lines, *said, b"", b""))
    return head + body


CHUNKED = b'd\r\n{"model":"m"}\r\n0\r\n\r\n'


@pytest.mark.parametrize(
    "sent",
    [
        with_headers(b"transfer-encoding: chunked", body=CHUNKED + BEHIND),
        with_headers(b"transfer-encoding: chunked", body=CHUNKED, length=False),
        with_headers(b"transfer-encoding: xchunked", body=CHUNKED),
        with_headers(b"transfer-encoding : chunked", body=CHUNKED),
        with_headers(b"transfer-encoding:\x0bchunked", body=CHUNKED),
        with_headers(b"transfer-encoding: gzip, chunked", body=CHUNKED, length=False),
        with_headers(b"transfer-encoding: chunked", b"transfer-encoding: x", body=CHUNKED),
        with_headers(b"transfer-encoding: identity", body=CHUNKED),
        with_headers(b"content-length: 1"),
        with_headers(b"content-length: 13, 14", length=False),
        with_headers(b"content-length: +13", length=False),
        with_headers(b"content-length: -1", length=False),
        with_headers(b"content-length: 0x0d", length=False),
        with_headers(b"content-length: 99999999999999999999", length=False),
        with_headers(b"x-null: a\x00b"),
        with_headers(b"x bad: y"),
        with_headers(b"x-return: a\rb"),
        with_headers(b": x"),
    ],
)
async def test_a_request_whose_end_could_be_argued_about_is_refused(
    edge: RealHaproxy, app: EchoApp, http: httpx.AsyncClient, sent: bytes
) -> None:
    """Nothing hides in or behind its body."""
    said = await exchange(edge.config.port, sent + BEHIND)

    assert said[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 411", b"HTTP/1.1 413", b"HTTP/1.1 422")
    assert seen_by(app) == []
    assert (await http.post("/v1/completions", json={"model": "m"})).status_code == 200


@pytest.mark.parametrize(
    "sent",
    [
        with_headers(b"x-folded: a\r\n  b"),
        GOOD.replace(b"\r\n", b"\n"),
        with_headers(b"content-length: 13"),
        with_headers(b"content-length: 13, 13", length=False),
    ],
)
async def test_what_is_only_odd_reaches_the_replica_in_one_plain_form(
    edge: RealHaproxy, app: EchoApp, sent: bytes
) -> None:
    """Folded headers, bare line feeds and equal lengths leave HAProxy normalised."""
    said = await exchange(edge.config.port, sent + BEHIND)

    assert said.startswith((b"HTTP/1.1 200", b"HTTP/1.1 400"))
    assert [path for path, _ in seen_by(app) if path != "/v1/completions"] == []
    assert all(body == b'{"model":"m"}' for _, body in seen_by(app))


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"model":"m","prompt":"x"}', 200),
        (b'{"model":"m","model":"slow"}', 400),
        (b'{"model":"slow","model":"m"}', None),
        (b'{"model":"m","mod\\u0065l":"slow"}', 400),
        (b'{"mod\\u0065l":"m"}', 400),
        (b'{"x":{"model":"m"}}', 400),
        (b'{"x":"\\"model\\":\\"m\\""}', 400),
        (b'[{"model":"m"}]', 400),
        (b'{"model":null}', 400),
        (b'{"model":7}', 404),
        (b'{"model":["m"]}', 400),
        (b'{"model":{"model":"m"}}', 400),
        ('{"model":"m"}'.encode("utf-16"), 400),
        (b"\xef\xbb\xbf" + b'{"model":"m"}', 400),
        (b'{"model":"m\\u0000"}', 404),
        (b'{"model":"m\\u0000\\r\\nx-evil: 1"}', 404),
        (b'{"model":"m\\r\\nx-evil: 1"}', 404),
        (b'{"model":"nobody"}', 404),
        (b"", 400),
    ],
)
async def test_a_body_is_served_as_both_read_it_or_not_at_all(
    edge: RealHaproxy, app: EchoApp, body: bytes, status: int | None
) -> None:
    """HAProxy and the replica have different JSON parsers; what they read must be the same."""
    said = await exchange(edge.config.port, with_headers(body=body))

    if status is not None:
        assert said.startswith(b"HTTP/1.1 %d" % status)
    assert [json.loads(each) for _, each in seen_by(app)] in ([], [{"model": "m", "prompt": "x"}])


@pytest.mark.parametrize(
    "name", ["m%00", "m%00%0d%0ax-evil:%201", "m%0d%0ax-evil:%201", "%00m", "m%0a"]
)
@pytest.mark.parametrize("rest", ["/v1/completions", "/v1/models"])
async def test_a_name_in_a_path_cannot_write_headers(
    edge: RealHaproxy, app: EchoApp, name: str, rest: str
) -> None:
    """Control characters are in no model's name."""
    method = b"POST" if rest == "/v1/completions" else b"GET"
    head = method + f" /models/{name}{rest} HTTP/1.1\r\nhost: x\r\n".encode()

    said = await exchange(edge.config.port, head + b"content-length: 2\r\n\r\n{}")

    assert said.startswith(b"HTTP/1.1 404")
    assert seen_by(app) == []


async def test_a_path_gives_the_replica_its_model(edge: RealHaproxy, app: EchoApp) -> None:
    """The body reaches the engine with the model in it; another model in it is refused."""
    path = b"POST /models/m/v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: "

    served = await exchange(edge.config.port, path + b'14\r\n\r\n{"prompt":"x"}')
    agreed = await exchange(edge.config.port, path + b'13\r\n\r\n{"model":"m"}')
    refused = await exchange(edge.config.port, path + b'16\r\n\r\n{"model":"slow"}')

    assert [each[:12] for each in (served, agreed)] == [b"HTTP/1.1 200"] * 2
    assert refused.startswith(b"HTTP/1.1 400")
    assert [json.loads(body) for _, body in seen_by(app)] == [
        {"model": "m", "prompt": "x"},
        {"model": "m"},
    ]


@pytest.mark.parametrize(
    "lines",
    [
        [b"x-%d: y" % number for number in range(200)],
        [b"x-huge: " + b"y" * 20_000],
        [b"x-huge: " + b"y" * 100_000],
        [b"x-huge: " + b"y" * 400_000],
    ],
    ids=["200 headers", "20 kB", "100 kB", "400 kB"],
)
async def test_headers_are_bounded(
    edge: RealHaproxy, app: EchoApp, http: httpx.AsyncClient, lines: list[bytes]
) -> None:
    """In number and in size; the connection is closed."""
    said = await exchange(edge.config.port, with_headers(*lines))

    assert said.startswith((b"HTTP/1.1 400", b"HTTP/1.1 431"))
    assert seen_by(app) == []
    assert (await http.post("/v1/completions", json={"model": "m"})).status_code == 200


@pytest.mark.parametrize(
    "sent",
    [b"", b"POST /v1/comp", b"POST /v1/completions HTTP/1.1\r\nhost: x\r\nx-a: b\r\n", GOOD[:-5]],
    ids=["nothing", "half a line", "half the headers", "half the body"],
)
async def test_who_does_not_finish_a_request_is_cut_off_and_holds_up_nobody(
    edge: RealHaproxy, app: EchoApp, http: httpx.AsyncClient, sent: bytes
) -> None:
    """However many they are; the time limit is `request_timeout_s`."""
    opened = [await asyncio.open_connection("127.0.0.1", edge.config.port) for _ in range(200)]
    for _, writer in opened:
        writer.write(sent)

    meanwhile = await http.post("/v1/completions", json={"model": "m"})
    async with asyncio.timeout(10):
        said = await asyncio.gather(*(reader.read() for reader, _ in opened))

    for _, writer in opened:
        writer.close()
    assert meanwhile.status_code == 200
    assert {each[:12] for each in said} <= {b"", b"HTTP/1.1 408", b"HTTP/1.1 400"}
    assert len(seen_by(app)) == 1


async def test_one_byte_now_and_then_does_not_extend_the_time_for_headers(
    edge: RealHaproxy,
) -> None:
    """The limit is for all of them together."""
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.config.port)
    writer.write(b"POST /v1/completions HTTP/1.1\r\n")

    async def drip() -> None:
        while True:
            writer.write(b"x")
            await asyncio.sleep(0.2)

    dripping = asyncio.create_task(drip())
    async with asyncio.timeout(6):
        said = await reader.read()

    dripping.cancel()
    writer.close()
    assert said[:12] in (b"", b"HTTP/1.1 408")


async def test_a_client_that_does_not_read_is_cut_off_and_its_replica_is_free_again(
    edge: RealHaproxy, http: httpx.AsyncClient, replica: FakeReplica
) -> None:
    """After `client_timeout_s`; nobody else waits for it."""
    replica.script = Script(tokens=2_000, padding=16_000)
    stuck = socket.socket()
    stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stuck.connect(("127.0.0.1", edge.config.port))
    body = b'{"model":"slow","stream":true}'
    stuck.sendall(with_headers(body=body))

    async def busy() -> bool:
        return replica.active == 1

    async def free() -> bool:
        return replica.active == 0

    await eventually(busy)
    meanwhile = await http.post("/v1/completions", json={"model": "slow"})
    still_busy = replica.active
    await eventually(free, within_s=30)

    stuck.close()
    assert (meanwhile.status_code, still_busy) == (200, 1)
    assert replica.completed == 1


async def test_a_client_that_waits_for_its_answer_is_not_a_slow_one(
    http: httpx.AsyncClient, replica: FakeReplica
) -> None:
    """A first token may take longer than a client may leave its answer unread."""
    replica.script = Script(first_token_s=3.0)

    answer = await http.post("/v1/completions", json={"model": "slow", "stream": True})

    assert answer.status_code == 200
    assert answer.text.endswith("data: [DONE]\n\n")
