"""Clients read a part of their stream and leave; the device's own counter says what came after.

The way is the product's: HAProxy as router-config configures it, and a replica of ours with the
front end that is measured. The device makes one token a step, so the tokens that it made beyond
those that the client had read, times the step, bound the time from the client's leaving to the
engine's last step from above.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from libs.contracts.ids import ModelName
from libs.contracts.lease import FrontEnd
from libs.contracts.model_spec import (
    Device,
    EngineSpec,
    FrontEndChoice,
    ModelSpec,
    SimulationSpec,
)
from libs.contracts.reports import LoadReport
from libs.contracts.subjects import LOAD_SUBJECTS
from libs.errors import PeerUnreachableError, UsageError
from libs.testing.edge_replica import Replica, running_replica
from libs.testing.edge_world import EdgeWorld, edge_world
from libs.testing.tiny_model import words, write_tiny_model

MODEL: Final = "simulated"
FRONT_ENDS: Final = tuple(FrontEnd)
_STEP_S_MIN: Final = 0.001
_CONTEXT_TOKENS: Final = 2048
_TOKENS: Final = 1500
_STILL_S_MIN: Final = 0.15
_STILL_STEPS: Final = 4
_LOOK_S: Final = 0.02
_STOP_TIMEOUT_S: Final = 30.0
_REPORT_S: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DisconnectPlan:
    """One run.

    Attributes:
        trials: clients that leave, one after the other, for each front end.
        step_time_s: what the device takes for a token; the measurement is no finer.
        front_ends: which of a replica's front ends are measured, one replica each.
    """

    trials: int = 50
    step_time_s: float = 0.005
    front_ends: tuple[FrontEnd, ...] = FRONT_ENDS

    def __post_init__(self) -> None:
        """Check the bounds.

        Raises:
            UsageError: a value is out of them.
        """
        if not _STEP_S_MIN <= self.step_time_s <= 1:
            raise UsageError(f"--step-ms must be from 1 to 1000, not {self.step_time_s * 1000:g}")

    @property
    def still_s(self) -> float:
        """Return how long the device makes no token once the engine has stopped."""
        return max(_STILL_S_MIN, _STILL_STEPS * self.step_time_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class DisconnectReport:
    """What was seen; times in ms from the client's leaving to the engine's last step.

    Attributes:
        running_after: requests that the replica reports as running after the last client has left.
    """

    front_end: FrontEnd
    stopped_ms: tuple[float, ...]
    running_after: int | None

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
            "front_end": self.front_end.value,
            "trials": len(self.stopped_ms),
            "p50_ms": round(self.p50_ms, 1),
            "p99_ms": round(self.p99_ms, 1),
            "max_ms": round(max(self.stopped_ms), 1),
            "running_after": self.running_after,
        }


def measure_disconnects(
    plan: DisconnectPlan, tell: Callable[[str], None]
) -> tuple[DisconnectReport, ...]:
    """Start an edge and a replica for each front end, and let clients leave.

    Raises:
        PeerUnreachableError: a replica did not start, a stream ended by itself, or the engine never
            stopped.
        UsageError: a replica serves through another front end than it was asked for.
    """
    with tempfile.TemporaryDirectory(prefix="sl-") as folder:
        model = write_tiny_model(Path(folder), context_tokens=_CONTEXT_TOKENS)
        return tuple(
            asyncio.run(_measure(plan, front_end, model, tell)) for front_end in plan.front_ends
        )


async def _measure(
    plan: DisconnectPlan, front_end: FrontEnd, model: Path, tell: Callable[[str], None]
) -> DisconnectReport:
    tell(f"starting a replica with the front end {front_end}")
    spec = spec_of(plan, front_end, model)
    async with edge_world() as world:
        await world.declare(spec)
        async with running_replica(world, spec) as replica:
            _check(front_end, replica)
            found = await _trials(plan, world, replica, lambda text: tell(f"{front_end}: {text}"))
            running = await _running(world)
    return DisconnectReport(front_end=front_end, stopped_ms=found, running_after=running)


async def _running(world: EdgeWorld) -> int | None:
    """Return how many requests run, by the replica's next report."""
    asked_at = time.time()
    try:
        async with asyncio.timeout(_REPORT_S), world.bus.reports(LOAD_SUBJECTS) as reports:
            async for received in reports:
                load = received.value
                if isinstance(load, LoadReport) and load.observed_at > asked_at:
                    return load.running
    except TimeoutError:
        pass
    raise PeerUnreachableError(peer="replica", cause="it does not report its load")


def _check(asked: FrontEnd, replica: Replica) -> None:
    lease = replica.lease
    if lease.front_end is not asked:
        reason = lease.front_end_reason or "it gives no reason"
        raise UsageError(f"the replica serves through {lease.front_end}, not {asked}: {reason}")


async def _trials(
    plan: DisconnectPlan, world: EdgeWorld, replica: Replica, tell: Callable[[str], None]
) -> tuple[float, ...]:
    port = world.http.base_url.port or 80
    found: list[float] = []
    for number in range(plan.trials + 1):
        tell(f"client {number} of {plan.trials}" if number else "warming up")
        extra = await leave(replica.made, port, read=5 + number % 20, still_s=plan.still_s)
        if number:
            found.append(extra * plan.step_time_s * 1000)
    return tuple(found)


async def leave(made: Callable[[], int], port: int, *, read: int, still_s: float) -> int:
    """Read so many tokens of a stream and leave; return how many were made beyond them.

    `made` tells how many tokens the device has made so far; without more for `still_s` the engine
    has stopped.

    Raises:
        PeerUnreachableError: the stream stands still or ends early, or the engine goes on.
    """
    before = made()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(_request(read))
    received = 0
    try:
        async with asyncio.timeout(_STOP_TIMEOUT_S):
            while received < read:
                line = await reader.readline()
                if not line or (line.startswith(b"HTTP/1.1 ") and b" 200 " not in line):
                    raise PeerUnreachableError(peer="edge", cause=f"no stream: {line.decode()!r}")
                received += line.startswith(b"data: {")
    except TimeoutError as exc:
        raise PeerUnreachableError(peer="replica", cause="its stream stood still") from exc
    finally:
        writer.transport.abort()
    return await _until_still(made, still_s) - before - received


async def _until_still(made: Callable[[], int], still_s: float) -> int:
    """Return the tokens that the device has made once it makes no more."""
    loop = asyncio.get_running_loop()
    last, since_s, give_up_s = made(), loop.time(), loop.time() + _STOP_TIMEOUT_S
    while loop.time() - since_s < still_s:
        await asyncio.sleep(_LOOK_S)
        if (now := made()) != last:
            last, since_s = now, loop.time()
        if loop.time() > give_up_s:
            raise PeerUnreachableError(peer="replica", cause="the engine goes on")
    return last


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


def spec_of(plan: DisconnectPlan, front_end: FrontEnd, model: Path) -> ModelSpec:
    """Return the simulated model that a replica is asked to serve through one front end."""
    return ModelSpec(
        name=ModelName(MODEL),
        source=str(model),
        device=Device.SIMULATED,
        engine=EngineSpec(max_model_len=_CONTEXT_TOKENS, front_end=FrontEndChoice(front_end.value)),
        simulation=SimulationSpec(step_time_s=plan.step_time_s),
    )
