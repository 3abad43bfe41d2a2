"""From a model spec to vLLM's own command line arguments and environment: pure, no vLLM import.

Going through vLLM's argument parser gives every setting that Sluice does not name the same default
as vLLM's own API server has.
"""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Final

from libs.contracts.model_spec import Device, EngineSpec, ModelSpec
from libs.engine.simulated.settings import BLOCK_SIZE, WORKER_CLASS, additional_config

GIB: Final = 2**30
CPU_DTYPE: Final = "float32"
"""bfloat16 gives wrong text for some models in vLLM's CPU build."""

KEEP_ALIVE_S: Final = 75
"""Longer than HAProxy keeps idle connections (5 s), or a reused one races with its end."""

STALL_TIMEOUT_S: Final = 30.0
"""A chunk of a prompt takes a device a second or two; HAProxy waits 600 s for a first token."""

CPU_STALL_TIMEOUT_S: Final = 300.0
"""A chunk of 2,048 tokens of a model of seven billion parameters takes a few cores minutes."""

NO_DOMAIN: Final = "none.invalid"
"""No host has this name (RFC 2606). Without any domain vLLM fetches from all of them."""

SPARE_LORAS: Final = 1
"""Room beside the declared adapters, in which a changed one is read while requests still run with
its predecessor. vLLM keeps every adapter in its room, so that it never reads one again: a file that
is gone by then would end the engine."""


class Executor(StrEnum):
    """How vLLM runs its workers: as actors of a Ray cluster, or as processes of its own."""

    RAY = "ray"
    MULTIPROCESSING = "mp"


def api_server_arguments(
    spec: ModelSpec, *, model: str, executor: Executor = Executor.RAY
) -> list[str]:
    """Return the arguments of vLLM's API server for a spec; `model` is a folder or a hub id."""
    arguments = ["--model", model]
    arguments += ["--served-model-name", spec.name, *spec.aliases]
    arguments += ["--distributed-executor-backend", executor.value]
    arguments += ["--tensor-parallel-size", str(spec.engine.tensor_parallel_size)]
    arguments += ["--max-num-seqs", str(spec.engine.max_num_seqs)]
    # Among equal priorities, the default included, the first to come is the first to run.
    arguments += ["--scheduling-policy", "priority"]
    arguments += _optional("--max-model-len", spec.engine.max_model_len)
    arguments += _optional("--dtype", dtype_of(spec))
    arguments += ["--allowed-media-domains", *(spec.engine.media_domains or (NO_DOMAIN,))]
    arguments += _lora_arguments(spec.engine)
    return arguments + _device_arguments(spec)


def dtype_of(spec: ModelSpec) -> str | None:
    """Return the type of weights and cache; None leaves it to the model's own configuration."""
    if spec.engine.dtype is not None:
        return spec.engine.dtype
    return CPU_DTYPE if spec.device is Device.CPU else None


def stall_timeout_of(spec: ModelSpec) -> float:
    """Return how long the engine may seem stuck before its replica fails, in seconds."""
    if spec.engine.stall_timeout_s is not None:
        return spec.engine.stall_timeout_s
    return CPU_STALL_TIMEOUT_S if spec.device is Device.CPU else STALL_TIMEOUT_S


def engine_environment(spec: ModelSpec, *, is_local: bool) -> dict[str, str]:
    """Return the environment variables that vLLM's processes need for a spec.

    `is_local` says that the model is a folder: then nothing may ask a hub for it.
    """
    environment = {
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_LOGGING_LEVEL": "INFO",
        "VLLM_HTTP_TIMEOUT_KEEP_ALIVE": str(KEEP_ALIVE_S),
        # A host that may be asked could send the engine on to one that may not.
        "VLLM_MEDIA_URL_ALLOW_REDIRECTS": "0",
    }
    if is_local:
        environment |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    if spec.device is not Device.CUDA:
        environment |= {"VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    return environment


def _lora_arguments(engine: EngineSpec) -> list[str]:
    if not engine.max_loras:
        return []
    room = str(engine.max_loras + SPARE_LORAS)
    arguments = ["--enable-lora", "--max-lora-rank", str(engine.max_lora_rank)]
    return [*arguments, "--max-loras", room, "--max-cpu-loras", room]


def _device_arguments(spec: ModelSpec) -> list[str]:
    match spec.device:
        case Device.CPU:
            return _cpu_arguments(spec.engine)
        case Device.SIMULATED:
            return _simulated_arguments(spec)
        case Device.CUDA:
            return []


def _simulated_arguments(spec: ModelSpec) -> list[str]:
    settings = json.dumps(additional_config(spec.simulation))
    arguments = ["--worker-cls", WORKER_CLASS, "--additional-config", settings]
    arguments += ["--enforce-eager", "--block-size", str(BLOCK_SIZE)]
    return arguments + _divisible_heads(spec.engine.tensor_parallel_size)


def _divisible_heads(workers: int) -> list[str]:
    """Let several workers share any model's configuration: its heads are never computed.

    vLLM refuses a number of heads that the workers cannot share; the built-in model has nine.
    """
    if workers == 1:
        return []
    heads = {"num_attention_heads": workers, "num_key_value_heads": workers}
    return ["--hf-overrides", json.dumps(heads)]


def _cpu_arguments(engine: EngineSpec) -> list[str]:
    kv_cache_bytes = int(engine.kv_cache_gib * GIB)
    return ["--enforce-eager", "--kv-cache-memory-bytes", str(kv_cache_bytes)]


def _optional(flag: str, value: object | None) -> list[str]:
    return [] if value is None else [flag, str(value)]
