"""From a model spec to vLLM's arguments."""

from __future__ import annotations

import pytest

from libs.contracts.ids import ModelName
from libs.contracts.model_spec import Device, EngineSpec, ModelSpec
from libs.engine.arguments import (
    NO_DOMAIN,
    Executor,
    api_server_arguments,
    dtype_of,
    engine_environment,
    stall_timeout_of,
)


def spec(device: Device = Device.CPU, engine: EngineSpec | None = None) -> ModelSpec:
    """Return a model with an alias."""
    return ModelSpec(
        name=ModelName("tiny"),
        source="x",
        aliases=("default", "small"),
        device=device,
        engine=engine or EngineSpec(),
    )


def value_of(arguments: list[str], flag: str) -> str:
    """Return what follows a flag."""
    return arguments[arguments.index(flag) + 1]


def test_the_model_answers_to_its_name_and_its_aliases() -> None:
    """Clients may send any of them."""
    arguments = api_server_arguments(spec(), model="/m")

    start = arguments.index("--served-model-name")
    assert arguments[start + 1 : start + 4] == ["tiny", "default", "small"]


def test_ray_runs_the_workers_unless_said_otherwise() -> None:
    """RayExecutorV2 comes of `ray`."""
    by_ray = api_server_arguments(spec(), model="/m")
    alone = api_server_arguments(spec(), model="/m", executor=Executor.MULTIPROCESSING)

    assert value_of(by_ray, "--distributed-executor-backend") == "ray"
    assert value_of(alone, "--distributed-executor-backend") == "mp"


@pytest.mark.parametrize(
    ("device", "dtype", "chosen"),
    [
        (Device.CPU, None, "float32"),
        (Device.CPU, "bfloat16", "bfloat16"),
        (Device.CUDA, None, None),
        (Device.CUDA, "half", "half"),
    ],
)
def test_cpu_computes_in_float32_unless_told(
    device: Device, dtype: str | None, chosen: str | None
) -> None:
    """bfloat16 gives wrong text in vLLM's CPU build."""
    assert dtype_of(spec(device, EngineSpec(dtype=dtype))) == chosen


def test_the_cache_of_a_cpu_may_be_a_fraction_of_a_gib() -> None:
    """VLLM's environment variable knows whole GiB only, so it is an argument."""
    arguments = api_server_arguments(spec(engine=EngineSpec(kv_cache_gib=0.5)), model="/m")

    assert value_of(arguments, "--kv-cache-memory-bytes") == str(2**29)
    assert "--enforce-eager" in arguments


def test_a_gpu_is_left_to_vllms_own_choices() -> None:
    """Graphs, dtype and cache size are its business there."""
    arguments = api_server_arguments(spec(Device.CUDA), model="/m")

    assert not {"--enforce-eager", "--kv-cache-memory-bytes", "--dtype"} & set(arguments)


def test_a_local_model_is_never_asked_for_at_a_hub() -> None:
    """No network, no delay, nothing told to anybody."""
    local = engine_environment(spec(), is_local=True)
    hub = engine_environment(spec(), is_local=False)

    assert (local["HF_HUB_OFFLINE"], "HF_HUB_OFFLINE" in hub) == ("1", False)
    assert hub["VLLM_NO_USAGE_STATS"] == "1"


def test_adapters_have_room_for_one_more_than_may_be_declared() -> None:
    """A changed adapter is read beside the one that it replaces, and none is ever put out."""
    arguments = api_server_arguments(
        spec(engine=EngineSpec(max_loras=3, max_lora_rank=32)), model="/m"
    )

    assert "--enable-lora" in arguments
    assert value_of(arguments, "--max-loras") == "4"
    assert value_of(arguments, "--max-cpu-loras") == "4"
    assert value_of(arguments, "--max-lora-rank") == "32"


def test_an_engine_that_takes_no_adapter_knows_nothing_of_them() -> None:
    """LoRA's layers cost time even while there is none."""
    assert not [each for each in api_server_arguments(spec(), model="/m") if "lora" in each]


def test_a_model_without_a_limit_takes_its_own() -> None:
    """None means unsaid."""
    assert "--max-model-len" not in api_server_arguments(spec(), model="/m")


def test_nothing_is_fetched_for_a_request_unless_its_host_is_declared() -> None:
    """VLLM fetches from everywhere when it is told nothing, the machine's own services included."""
    closed = api_server_arguments(spec(), model="/m")
    hosts = ("images.example.org", "cdn.example.org")
    some = api_server_arguments(spec(engine=EngineSpec(media_domains=hosts)), model="/m")

    assert value_of(closed, "--allowed-media-domains") == NO_DOMAIN
    start = some.index("--allowed-media-domains")
    assert some[start + 1 : start + 3] == [*hosts]
    assert engine_environment(spec(), is_local=True)["VLLM_MEDIA_URL_ALLOW_REDIRECTS"] == "0"


@pytest.mark.parametrize(
    ("device", "said", "taken_s"),
    [
        (Device.CUDA, None, 30.0),
        (Device.SIMULATED, None, 30.0),
        (Device.CPU, None, 300.0),
        (Device.CPU, 20.0, 20.0),
    ],
)
def test_a_cpu_gets_more_time_for_a_step(
    device: Device, said: float | None, taken_s: float
) -> None:
    """A chunk of a prompt takes minutes there."""
    assert stall_timeout_of(spec(device, EngineSpec(stall_timeout_s=said))) == taken_s
