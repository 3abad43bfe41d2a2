"""A client that leaves ends its request in the engine, through HAProxy's own configuration."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from libs.haproxy.commands import ServerSpec
from libs.haproxy.config import Balance, EdgeConfig, PoolConfig
from libs.testing.eventually import eventually
from libs.testing.real_haproxy import edge_config, real_haproxy, short_folder
from libs.testing.simulated_server import SimulatedServer
from libs.testing.tiny_model import words

TOKENS = 450


def edge_of(folder: Path) -> EdgeConfig:
    """Return an edge's settings."""
    return edge_config(folder)


def request(first: int) -> bytes:
    """Return a request for a long stream."""
    asked = {
        "model": "sim",
        "prompt": words(10, first=first),
        "max_tokens": TOKENS,
        "ignore_eos": True,
        "stream": True,
    }
    body = json.dumps(asked).encode()
    head = f"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n"
    return head.encode() + b"content-type: application/json\r\n\r\n" + body


async def test_a_client_that_leaves_frees_its_place_in_the_engine(server: SimulatedServer) -> None:
    """In mid-stream: nothing runs for it any more, long before its answer would have ended."""

    async def idle() -> bool:
        return server.metrics()["vllm:num_requests_running"] == 0

    with short_folder() as folder:
        config = edge_of(folder)
        spec = ServerSpec(name="r.aa", number=101, address=server.address, weight=16, maxconn=8)
        pool = PoolConfig(name="lc0", balance=Balance.LEAST_LOADED, servers=(spec,))
        async with real_haproxy(config, (pool,), routes=(("sim", "lc0:sim"),)):
            before = server.totals()[0].output_tokens
            reader, writer = await asyncio.open_connection("127.0.0.1", config.port)
            writer.write(request(first=7))
            async with asyncio.timeout(30):
                await reader.readuntil(b"data: ")
            running = server.metrics()["vllm:num_requests_running"]

            writer.transport.abort()
            await eventually(idle, within_s=2)

    assert running == 1
    assert server.totals()[0].output_tokens - before < TOKENS
