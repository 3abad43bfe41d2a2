"""The HTTP port with a real uvicorn and real sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import httpx
import pytest
from opentelemetry import trace

from libs.contracts.lease import Endpoint
from libs.testing.asgi import EchoApp
from services.replica.adapters.http.door import HttpDoor
from services.replica.adapters.http.middleware import ReplicaMiddleware
from services.replica.adapters.http.server import serving
from services.replica.sockets import TcpSocket

TRACER = trace.NoOpTracer()


@pytest.fixture
async def port() -> AsyncIterator[TcpSocket]:
    """Bind a port of the kernel's choice."""
    bound = TcpSocket(listen_host="127.0.0.1", advertise_host="127.0.0.1")
    yield bound
    bound.close()


async def test_the_port_is_known_before_it_listens(port: TcpSocket) -> None:
    """A starting replica has an address, but nobody reaches it."""
    with pytest.raises(ConnectionRefusedError):
        await asyncio.to_thread(socket.create_connection, _host_port(port), 1)


async def test_answers_name_the_replica(port: TcpSocket) -> None:
    """Every answer says who gave it, refusals too."""
    guarded = ReplicaMiddleware(EchoApp(), door=HttpDoor(), tracer=TRACER)

    async with serving(guarded, port, server_name="r1.abcd1234"), _client(port) as client:
        served = await client.post("/v1/completions", content=b"x")
        refused = await client.post("/docs", content=b"x")

    assert served.headers["x-sluice-replica"] == "r1.abcd1234"
    assert refused.headers["x-sluice-replica"] == "r1.abcd1234"
    assert "server" not in served.headers


async def test_a_stream_arrives_piece_by_piece(port: TcpSocket) -> None:
    """Nothing between engine and client holds chunks back."""
    gate = asyncio.Event()
    guarded = ReplicaMiddleware(EchoApp(gate=gate), door=HttpDoor(), tracer=TRACER)

    async with (
        serving(guarded, port, server_name="r"),
        _client(port) as client,
        client.stream("POST", "/v1/completions", content=b"first") as answer,
    ):
        pieces = answer.aiter_raw()
        first = await anext(pieces)
        gate.set()
        rest = b"".join([piece async for piece in pieces])

    assert (first, rest) == (b"first", b"end")


async def test_the_end_of_serving_closes_idle_connections(port: TcpSocket) -> None:
    """A kept-alive connection does not hold up the end."""
    async with _client(port) as client:
        async with asyncio.timeout(2), serving(EchoApp(), port, server_name="r"):
            await client.post("/v1/completions")

        with pytest.raises(httpx.TransportError):
            await client.post("/v1/completions")


def _client(port: TcpSocket) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=f"http://{port.address}", timeout=5)


def _host_port(port: TcpSocket) -> tuple[str, int]:
    assert isinstance(port.address, Endpoint)
    return port.address.host, port.address.port
