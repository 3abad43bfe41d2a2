"""How many threads one worker computes with on CPU."""

from __future__ import annotations

from libs.contracts.model_spec import Device, ModelSpec


def worker_threads(spec: ModelSpec, *, cpus: int) -> int | None:
    """Share a machine's CPUs among all workers that the model may have on it; None off CPU.

    One CPU of each share is left to the engine core, which spins while a step runs. Ray would give
    every worker one thread, vLLM alone would give the first worker all the rest.
    """
    if spec.device is not Device.CPU:
        return None
    workers_max = spec.scaling.max * spec.engine.tensor_parallel_size
    return max(1, cpus // workers_max - 1)
