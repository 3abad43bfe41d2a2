"""The simulated device's settings inside vLLM's own configuration, which reaches every worker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Final

from pydantic import TypeAdapter, ValidationError

from libs.contracts.model_spec import SimulationSpec
from libs.errors import UsageError

WORKER_CLASS: Final = "libs.engine.simulated.worker.SimulatedWorker"
"""What vLLM is told as `worker_cls`."""

CONFIG_KEY: Final = "sluice_simulation"
"""The settings' place in vLLM's `additional_config`."""

BLOCK_SIZE: Final = 16
"""Tokens in a block of the KV cache, as on a GPU; vLLM takes 128 on a CPU, where a prompt must be
longer than that before the prefix cache can help."""

_ADAPTER: Final = TypeAdapter(SimulationSpec)


def additional_config(spec: SimulationSpec | None) -> dict[str, dict[str, float]]:
    """Return vLLM's `additional_config` for a simulated device; None takes the defaults."""
    return {CONFIG_KEY: asdict(spec or SimulationSpec())}


def simulation_in(config: Mapping[str, object]) -> SimulationSpec:
    """Read the settings back out of `additional_config`; absent ones have their defaults.

    Raises:
        UsageError: a setting is of the wrong type or out of its bounds.
    """
    try:
        return _ADAPTER.validate_python(config.get(CONFIG_KEY, {}))
    except ValidationError as exc:
        found = exc.errors(include_url=False, include_input=False)
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in found)
        raise UsageError(f"The simulated device's settings are wrong: {problems}") from exc
