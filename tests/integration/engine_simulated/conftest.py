"""One small simulated server for all tests that look at vLLM's scheduling."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from libs.contracts.ids import ModelName
from libs.contracts.model_spec import Device, EngineSpec, ModelSpec, SimulationSpec
from libs.testing.simulated_server import SimulatedServer, simulated_server
from libs.testing.tiny_model import write_tiny_model

STEP_TIME_S = 0.01
CHUNK_TOKENS = 64


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a tokenizer and a configuration, and no weights at all."""
    return write_tiny_model(tmp_path_factory.mktemp("tiny"), context_tokens=512)


@pytest.fixture(scope="session")
def spec() -> ModelSpec:
    """Return a model whose cache holds two of its longest sequences, and no third one."""
    return ModelSpec(
        name=ModelName("sim"),
        source="any",
        device=Device.SIMULATED,
        engine=EngineSpec(max_model_len=512, max_num_seqs=16, max_loras=2),
        simulation=SimulationSpec(
            step_time_s=STEP_TIME_S, prefill_time_per_token_s=0.0005, kv_capacity_tokens=1024
        ),
    )


@pytest.fixture(scope="session")
def server(spec: ModelSpec, tiny_model: Path) -> Iterator[SimulatedServer]:
    """Run vLLM's API server with the `mp` executor; it prefills at most 64 tokens a step."""
    options = ["--max-num-batched-tokens", str(CHUNK_TOKENS)]
    with simulated_server(spec, tiny_model, options=options) as running:
        yield running
