"""Clients read a part of their stream and leave; the device's own counter says what came after.

The device makes one token a step, so the tokens that it made beyond those that the client had read,
times the step, bound the time from the client's leaving to the engine's last step from above.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from libs.contracts.ids import ModelName
from libs.contracts.model_spec import Device, EngineSpec, ModelSpec, SimulationSpec
from libs.errors import PeerUnreachableError, UsageError
from libs.haproxy.commands import ServerSpec
from libs.haproxy.config import Balance, PoolConfig
from libs.testing.real_haproxy import edge_config, real_haproxy, short_folder
from libs.testing.simulated_server import SimulatedServer, simulated_server
from libs.testing.tiny_model import words, write_tiny_model

MODEL: Final = "simulated"
_STEP_S_MIN: Final = 0.001
_CONTEXT_TOKENS: Final = 2048
_TOKENS: Final = 1500
_STILL_S: Final = 0.15
_STOP_TIMEOUT_S: Final = 30.0
_LAYER: Final = "tools.bench.disconnect.layer.ReplicaLayer"


@dataclass(frozen=True, slots=True, kw_only=True)
class DisconnectPlan:
    """One run.

    Attributes:
        trials: clients that leave, one after the other.
        step_time_s: what the device takes for a token; the measurement is no finer.
    """

    trials: int = 50
    step_time_s: float = 0.005

    def __post_init__(self) -> None:
        """Check the bounds.

        Raises:
            UsageError: a value is out of them.
        """
        if not _STEP_S_MIN <= self.step_time_s <= 1:
            raise UsageError(f"--step-ms must be from 1 to 1000, not {self.step_time_s * 1000:g}")


@dataclass(frozen=True, slots=True, kw_only=True)
class DisconnectReport:
    """What was seen; times in ms from the client's leaving to the engine's last step.

    Attributes:
        running_after: the largest `vllm:num_requests_running` after a client had left.
    """

    stopped_ms: tuple[float, ...]
    running_after: int

    @property
    def p50_ms(self) -> float:
        """Return the middle."""
        return statistics.median(self.stopped_ms)

    @property
    def p99_ms(self) -> float:
        """Return the 99th percentile by nearest rank."""
        ranked = sorted(self.stopped_ms)
        return ranked[-(-len(ranked) * 99 // 100) - 1]

    def to_json(self) -> dict[str, object]:
        """Return plain values."""
        return {
            "trials": len(self.stopped_ms),
            "p50_ms": round(self.p50_ms, 1),
            "p99_ms": round(self.p99_ms, 1),
            "max_ms": round(max(self.stopped_ms), 1),
            "running_after": self.running_after,
        }


def measure_disconnects(plan: DisconnectPlan, tell: Callable[[str], None]) -> DisconnectReport:
    """Start a simulated replica and an edge, and let clients leave.

    Raises:
        PeerUnreachableError: a stream ended by itself, or the engine never stopped.
    """
    tell("starting vLLM on a simulated device")
    with tempfile.TemporaryDirectory(prefix="sl-") as folder:
        model = write_tiny_model(Path(folder), context_tokens=_CONTEXT_TOKENS)
        options = ["--middleware", _LAYER]
        with simulated_server(_spec(plan), model, options=options) as server:
            return asyncio.run(_trials(plan, server, tell))


async def _trials(
    plan: DisconnectPlan, server: SimulatedServer, tell: Callable[[str], None]
) -> DisconnectReport:
    found: list[float] = []
    running = 0
    with short_folder() as folder:
        config = edge_config(folder)
        async with real_haproxy(config, (_pool(server),), routes=((MODEL, "lc0:simulated"),)):
            for number in range(plan.trials + 1):
                tell(f"client {number} of {plan.trials}" if number else "warming up")
                extra = await _leave(server, config.port, read=5 + number % 20)
                running = max(running, int(server.metrics()["vllm:num_requests_running"]))
                if number:
                    found.append(extra * plan.step_time_s * 1000)
    return DisconnectReport(stopped_ms=tuple(found), running_after=running)


async def _leave(server: SimulatedServer, port: int, *, read: int) -> int:
    """Read so many tokens of a stream and leave; return how many were made beyond them."""
    before = _made(server)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(_request(read))
    received = 0
    try:
        async with asyncio.timeout(_STOP_TIMEOUT_S):
            while received < read:
                received += (await reader.readline()).startswith(b'data: {"id"')
    except TimeoutError as exc:
        raise PeerUnreachableError(peer="replica", cause="its stream stood still") from exc
    finally:
        writer.transport.abort()
    return await _until_still(server) - before - received


async def _until_still(server: SimulatedServer) -> int:
    """Return the tokens that the device has made once it makes no more."""
    try:
        async with asyncio.timeout(_STOP_TIMEOUT_S):
            last, made = -1, _made(server)
            while made != last:
                await asyncio.sleep(_STILL_S)
                last, made = made, _made(server)
            return made
    except TimeoutError as exc:
        raise PeerUnreachableError(peer="replica", cause="the engine goes on") from exc


def _made(server: SimulatedServer) -> int:
    return server.totals()[0].output_tokens


def _request(number: int) -> bytes:
    asked = {
        "model": MODEL,
        "prompt": words(16, first=number),
        "max_tokens": _TOKENS,
        "ignore_eos": True,
        "stream": True,
    }
    body = json.dumps(asked).encode()
    head = f"POST /v1/completions HTTP/1.1\r\nhost: edge\r\ncontent-length: {len(body)}\r\n"
    return head.encode() + b"content-type: application/json\r\n\r\n" + body


def _pool(server: SimulatedServer) -> PoolConfig:
    spec = ServerSpec(name="r0.aa", number=101, address=server.address, weight=16, maxconn=64)
    return PoolConfig(name="lc0", balance=Balance.LEAST_LOADED, servers=(spec,))


def _spec(plan: DisconnectPlan) -> ModelSpec:
    return ModelSpec(
        name=ModelName(MODEL),
        source="any",
        device=Device.SIMULATED,
        engine=EngineSpec(max_model_len=_CONTEXT_TOKENS),
        simulation=SimulationSpec(step_time_s=plan.step_time_s),
    )
