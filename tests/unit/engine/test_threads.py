"""How many threads one worker computes with."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.contracts.ids import ModelName
from libs.contracts.model_spec import Device, EngineSpec, ModelSpec, ScalingSpec
from libs.engine.threads import worker_threads


def spec(*, replicas_max: int = 1, workers: int = 1, device: Device = Device.CPU) -> ModelSpec:
    """Return a model of that many replicas at most."""
    return ModelSpec(
        name=ModelName("m"),
        source="x",
        device=device,
        engine=EngineSpec(tensor_parallel_size=workers),
        scaling=ScalingSpec(max=replicas_max),
    )


@pytest.mark.parametrize(
    ("cpus", "replicas_max", "threads"), [(1, 1, 1), (2, 1, 1), (2, 4, 1), (16, 1, 15), (16, 4, 3)]
)
def test_replicas_share_the_cpus(cpus: int, replicas_max: int, threads: int) -> None:
    """Two replicas on two cores do not fight, one on sixteen does not idle."""
    assert worker_threads(spec(replicas_max=replicas_max), cpus=cpus) == threads


@given(st.integers(1, 256), st.integers(1, 16), st.integers(1, 8))
def test_all_workers_together_never_take_more_than_there_is(
    cpus: int, replicas_max: int, workers: int
) -> None:
    """But every worker has one thread."""
    each = worker_threads(spec(replicas_max=replicas_max, workers=workers), cpus=cpus)

    assert each is not None
    assert each == 1 or each * replicas_max * workers <= cpus


@pytest.mark.parametrize("device", [Device.CUDA, Device.SIMULATED])
def test_other_devices_do_not_compute_on_the_cpu(device: Device) -> None:
    """Nothing to share."""
    assert worker_threads(spec(device=device), cpus=8) is None
