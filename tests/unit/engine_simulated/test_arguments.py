"""A simulated model's entry becomes arguments of vLLM's own API server."""

from __future__ import annotations

import json
from dataclasses import replace

from libs.contracts.model_spec import EngineSpec, SimulationSpec
from libs.engine.arguments import api_server_arguments, engine_environment
from libs.engine.simulated.settings import CONFIG_KEY
from libs.testing.records import a_model


def value_of(arguments: list[str], flag: str) -> str:
    """Return the argument after a flag."""
    return arguments[arguments.index(flag) + 1]


def test_the_settings_reach_the_worker_through_vllms_configuration() -> None:
    """No worker reads the environment."""
    spec = replace(a_model(), simulation=SimulationSpec(step_time_s=0.25, seed=9))

    arguments = api_server_arguments(spec, model="/models/any")

    settings = json.loads(value_of(arguments, "--additional-config"))[CONFIG_KEY]
    assert value_of(arguments, "--worker-cls").endswith(".SimulatedWorker")
    assert (settings["step_time_s"], settings["seed"]) == (0.25, 9)


def test_workers_that_share_a_model_get_heads_to_share() -> None:
    """Otherwise vLLM refuses two workers for the built-in model's nine heads."""
    spec = replace(a_model(), engine=EngineSpec(tensor_parallel_size=2))

    arguments = api_server_arguments(spec, model="/models/any")

    assert json.loads(value_of(arguments, "--hf-overrides"))["num_attention_heads"] == 2
    assert "--hf-overrides" not in api_server_arguments(a_model(), model="/models/any")


def test_simulated_workers_are_bound_to_no_core() -> None:
    """They sleep; and vLLM wants one NUMA node for each worker that it binds."""
    environment = engine_environment(a_model(), is_local=True)

    assert environment["VLLM_CPU_OMP_THREADS_BIND"] == "nobind"
