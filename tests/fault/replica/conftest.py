"""A real replica with both front ends on a simulated device, behind a real edge."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from libs.contracts.ids import ModelName
from libs.contracts.model_spec import (
    Device,
    EngineSpec,
    FrontEndChoice,
    ModelSpec,
    SimulationSpec,
)
from libs.testing.edge_replica import Replica, running_replica
from libs.testing.edge_world import EdgeWorld, edge_world
from libs.testing.tiny_model import write_tiny_model


@pytest.fixture
def stall_timeout_s() -> float | None:
    """Return how long an engine may be stuck; a test that stops one says it."""
    return None


@pytest.fixture
def spec(tmp_path: Path, stall_timeout_s: float | None) -> ModelSpec:
    """Return a model of slow tokens, two at once."""
    return ModelSpec(
        name=ModelName("sim"),
        source=str(write_tiny_model(tmp_path / "tiny")),
        device=Device.SIMULATED,
        engine=EngineSpec(
            max_model_len=2048,
            max_num_seqs=2,
            front_end=FrontEndChoice.RUST,
            stall_timeout_s=stall_timeout_s,
        ),
        simulation=SimulationSpec(step_time_s=0.01),
    )


@pytest.fixture
async def world(spec: ModelSpec) -> AsyncIterator[EdgeWorld]:
    """Run an edge that knows the model."""
    async with edge_world() as found:
        await found.declare(spec)
        yield found


@pytest.fixture
async def replica(world: EdgeWorld, spec: ModelSpec) -> AsyncIterator[Replica]:
    """Run a replica until the test ends it or is over."""
    async with running_replica(world, spec) as found:
        yield found
