"""The autoscaler's own process between a real nats-server and a real Ray."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import TracerProvider

from libs.bus.nats_bus import NatsBus, connect
from libs.bus.permissions import ADMIN
from libs.contracts.events import Fact, ScaleDecided, ScaleDone
from libs.contracts.failing import AutoscalerTrouble
from libs.contracts.ids import ModelName
from libs.contracts.subjects import TROUBLE_KEY
from libs.contracts.targets import ManualTarget
from libs.errors import TransientError
from libs.telemetry.otlp_json import read_spans
from libs.testing.autoscaler_process import AutoscalerProcess
from libs.testing.eventually import eventually
from libs.testing.nats_server import NatsServer
from libs.testing.ray_node import RayNode, marked
from libs.testing.records import a_lease, a_model
from services.autoscaler.adapters.ray_serve.client import RayServeClient

M = ModelName("m")
BACK_WITHIN_S = 10.0
BUILT_WITHIN_S = 60.0
SPANS = {"reconcile", "serve.deploy", "scale"}

Targets = dict[str, int | None]


@pytest.fixture
async def bus(server: NatsServer) -> AsyncIterator[NatsBus]:
    """Be everybody else on the bus."""
    async with connect(server.settings(ADMIN)) as everybody:
        yield everybody


async def test_a_declared_model_runs_and_its_scaling_is_on_record(
    autoscaler: AutoscalerProcess, serve: RayServeClient, bus: NatsBus
) -> None:
    """From a declaration to replicas to facts, in one trace that began with the declaration."""
    tracer = TracerProvider().get_tracer("test")
    await autoscaler.start()
    with tracer.start_as_current_span("apply") as span:
        await bus.put("models", "m", a_model("m"))
    trace_id = f"{span.get_span_context().trace_id:032x}"

    await until_targets(serve, {"m": 1}, within_s=BUILT_WITHIN_S)
    await bus.put("replicas", "m.r1", a_lease("r1"))
    facts = await until_facts(bus, lambda found: len(found) == 2)

    async def all_written() -> bool:
        return {span.name for span in read_spans(autoscaler.traces_dir)} == SPANS

    await eventually(all_written, what="the spans of the scaling")
    assert [type(fact) for fact in facts] == [ScaleDecided, ScaleDone]
    assert {span.trace_id for span in read_spans(autoscaler.traces_dir)} == {trace_id}


async def test_a_killed_autoscaler_comes_back_and_catches_up(
    autoscaler: AutoscalerProcess, serve: RayServeClient, bus: NatsBus
) -> None:
    """What a person asked for meanwhile is done within ten seconds of its return."""
    await bus.put("models", "m", a_model("m"))
    await autoscaler.start()
    await until_targets(serve, {"m": 1}, within_s=BUILT_WITHIN_S)

    await autoscaler.kill()
    await bus.put("targets", "manual.m", ManualTarget(model=M, replicas=2, set_at=1.0))
    await autoscaler.start()

    await until_targets(serve, {"m": 2}, within_s=BACK_WITHIN_S)


async def test_a_killed_nats_changes_no_application_and_scaling_works_after_it(
    autoscaler: AutoscalerProcess, serve: RayServeClient, server: NatsServer, bus: NatsBus
) -> None:
    """Also when the server comes back without anything it had stored."""
    await bus.put("models", "m", a_model("m"))
    await bus.put("targets", "manual.m", ManualTarget(model=M, replicas=2, set_at=1.0))
    await autoscaler.start()
    await until_targets(serve, {"m": 2}, within_s=BUILT_WITHIN_S)

    await server.restart(wipe=True)
    await asyncio.sleep(4.0)
    after_wipe = await targets(serve)
    await bus.put("models", "m", a_model("m", replicas_min=3))

    assert after_wipe == {"m": 2}
    await until_targets(serve, {"m": 3}, within_s=BACK_WITHIN_S)


async def test_a_controller_that_stops_and_dies_is_told_and_loses_nothing(
    autoscaler: AutoscalerProcess, serve: RayServeClient, bus: NatsBus, head: RayNode
) -> None:
    """The autoscaler says that it cannot act, takes nothing away, and catches up after it."""
    await bus.put("models", "m", a_model("m"))
    await bus.put("targets", "manual.m", ManualTarget(model=M, replicas=2, set_at=1.0))
    await autoscaler.start()
    await until_targets(serve, {"m": 2}, within_s=BUILT_WITHIN_S)
    controller = serve_controller(head)

    os.kill(controller, signal.SIGSTOP)
    try:
        told = await eventually(lambda: trouble(bus), what="the trouble")
        await bus.put("targets", "manual.m", ManualTarget(model=M, replicas=3, set_at=2.0))
    finally:
        os.kill(controller, signal.SIGKILL)
    seen = await targets_until(serve, {"m": 3}, within_s=BUILT_WITHIN_S)

    async def over() -> bool:
        return await trouble(bus) is None

    await eventually(over, what="the trouble's end")
    assert told is not None
    assert "ray_serve" in told.cause
    assert all(count is None or count >= 2 for found in seen for count in found.values())


async def test_it_ends_in_order_and_hands_over(
    autoscaler: AutoscalerProcess, serve: RayServeClient, bus: NatsBus
) -> None:
    """SIGTERM: exit code 0, the leadership given back, the applications left as they are."""
    await bus.put("models", "m", a_model("m"))
    await autoscaler.start()
    await until_targets(serve, {"m": 1}, within_s=BUILT_WITHIN_S)

    code = await autoscaler.stop()

    assert code == 0
    assert await bus.get("leaders", "autoscaler") is None
    assert await targets(serve) == {"m": 1}


def test_wrong_settings_are_all_listed_and_end_with_code_2() -> None:
    """One look is enough to set them right."""
    result = subprocess.run(
        [sys.executable, "-m", "services.autoscaler"],
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "SLUICE_AUTOSCALER_RAY_DASHBOARD_URL": "nowhere",
            "SLUICE_AUTOSCALER_RESYNC_S": "0",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert result.returncode == 2
    for name in ("nats_credentials_file", "ray_dashboard_url", "resync_s"):
        assert name in result.stderr.lower()


async def targets(client: RayServeClient) -> Targets:
    """Return how many replicas Serve works towards."""
    return {app.name: app.target for app in await client.observe() or ()}


async def until_targets(client: RayServeClient, wanted: Targets, *, within_s: float) -> None:
    """Wait until Serve works towards these numbers."""
    await targets_until(client, wanted, within_s=within_s)


async def targets_until(
    client: RayServeClient, wanted: Targets, *, within_s: float
) -> list[Targets]:
    """Wait until Serve works towards these numbers; returns all that it said meanwhile."""
    loop = asyncio.get_running_loop()
    deadline, seen = loop.time() + within_s, list[Targets]()
    while wanted not in seen:
        assert loop.time() < deadline, f"targets were {seen[-3:]}"
        with suppress(TransientError):
            seen.append(await targets(client))
        await asyncio.sleep(0.1)
    return seen


async def trouble(bus: NatsBus) -> AutoscalerTrouble | None:
    """Return what the bus says of why nothing can be done."""
    entry = await bus.get("targets", TROUBLE_KEY)
    return entry.value if entry and isinstance(entry.value, AutoscalerTrouble) else None


def serve_controller(head: RayNode) -> int:
    """Return the process id of Serve's controller."""
    (found,) = (
        pid
        for pid in marked(head.mark)
        if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::ServeController")
    )
    return found


async def until_facts(bus: NatsBus, wanted: Callable[[list[Fact]], bool]) -> list[Fact]:
    """Wait until the record satisfies a predicate."""
    async with asyncio.timeout(BACK_WITHIN_S):
        while True:
            found = [stored.value async for stored in bus.facts()]
            if wanted(found):
                return found
            await asyncio.sleep(0.1)
