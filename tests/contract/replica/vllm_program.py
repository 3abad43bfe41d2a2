"""vLLM's room for adapters in a process of its own: a line of JSON in, a line of JSON out.

    python vllm_program.py MODEL_FOLDER

vLLM leaves sockets and shared memory to the end of its process, which a test run cannot wait for.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import sys
import tempfile
from pathlib import Path
from typing import TextIO

import httpx
from opentelemetry import trace

from libs.contracts.ids import ModelName
from libs.contracts.model_spec import (
    AdapterSpec,
    Device,
    EngineSpec,
    FrontEndChoice,
    ModelSpec,
    SimulationSpec,
)
from libs.engine.arguments import Executor
from libs.engine.engine_folder import engine_folder
from libs.errors import ControlPlaneError
from libs.testing.tiny_model import words
from services.replica.adapters.vllm.host import Launch, Placement, VllmEngine, running_engine
from services.replica.sockets import UnixSocket


def launch(folder: Path, own: Path) -> Launch:
    """Return what it takes to start an engine that holds two adapters, served by Python alone."""
    return Launch(
        spec=ModelSpec(
            name=ModelName("sim"),
            source=str(folder),
            device=Device.SIMULATED,
            engine=EngineSpec(
                max_model_len=256,
                max_num_seqs=4,
                max_loras=2,
                front_end=FrontEndChoice.PYTHON,
            ),
            simulation=SimulationSpec(step_time_s=0.001),
        ),
        models_dir=folder,
        placement=Placement(executor=Executor.MULTIPROCESSING),
        tracer=trace.NoOpTracer(),
        rust_at=UnixSocket(own / "rust.sock"),
        python_at=UnixSocket(own / "python.sock"),
        record=None,
        folder=own,
        drain_timeout_s=5.0,
    )


async def run(folder: Path, answers: TextIO) -> None:
    """Do what each line says until there are no more."""
    with engine_folder(Path(tempfile.gettempdir()), secrets.token_hex(4)) as own:
        await _serve(launch(folder, own), answers)


async def _serve(launched: Launch, answers: TextIO) -> None:
    async with running_engine(launched) as (engine, app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            answers.write(f"{json.dumps({'room': engine.slots.room})}\n")
            answers.flush()
            while line := await asyncio.to_thread(sys.stdin.readline):
                order = json.loads(line)
                found = await do(order, engine, client)
                answers.write(f"{json.dumps(found)}\n")
                answers.flush()


async def do(
    order: dict[str, object], engine: VllmEngine, client: httpx.AsyncClient
) -> dict[str, object]:
    """Do one thing and return how it went."""
    name, handle = str(order.get("name")), order.get("handle")
    assert handle is None or isinstance(handle, int)
    match order["do"]:
        case "load":
            adapter = AdapterSpec(name=name, source=str(order["source"]))
            try:
                return {"handle": await engine.slots.load(adapter)}
            except ControlPlaneError as exc:
                return {"error": str(exc)}
        case "serve":
            engine.slots.serve(name, handle)
        case "free":
            assert handle is not None
            await engine.slots.free(handle)
        case "answer":
            return {"text": await answer(name, client)}
    return {}


async def answer(name: str, client: httpx.AsyncClient) -> str | None:
    """Return what a request for a name gets; None when it is refused."""
    body = {"model": name, "prompt": words(9), "max_tokens": 6}
    reply = await client.post("/v1/completions", json=body)
    if reply.status_code == httpx.codes.NOT_FOUND:
        return None
    tree = reply.raise_for_status().json()
    assert tree["model"] == name
    return str(tree["choices"][0]["text"])


def main() -> None:
    """Keep the answers apart from what else is printed."""
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        asyncio.run(run(Path(sys.argv[1]), answers))


if __name__ == "__main__":
    main()
