"""Two simulated workers that share a model, placed by Ray."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from libs.contracts.model_spec import EngineSpec, ModelSpec
from libs.engine.arguments import Executor
from libs.testing.ray_node import ray_node
from libs.testing.simulated_server import SimulatedServer, simulated_server
from libs.testing.tiny_model import words


@pytest.mark.timeout(600)  # two engines and a Ray node start one after the other
def test_two_workers_under_ray_say_what_one_says_without(
    server: SimulatedServer, spec: ModelSpec, tiny_model: Path
) -> None:
    """RayExecutorV2, tensor parallelism and `mp` differ in time, never in text."""
    prompt = words(30, first=10)
    alone = server.complete(prompt, max_tokens=16)
    shared = replace(spec, engine=EngineSpec(max_model_len=512, tensor_parallel_size=2))

    with (
        ray_node({}, slots=2) as node,
        simulated_server(
            shared, tiny_model, executor=Executor.RAY, environment=node.driver_environment()
        ) as under_ray,
    ):
        found = under_ray.complete(prompt, max_tokens=16)
        totals = under_ray.totals()

    assert found == alone
    assert [each.steps for each in totals] == [16, 16]
