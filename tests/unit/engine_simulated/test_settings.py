"""The settings travel through vLLM's configuration and are checked where they arrive."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.contracts.model_spec import SimulationSpec
from libs.engine.simulated.settings import CONFIG_KEY, additional_config, simulation_in
from libs.errors import UsageError

SPECS = st.builds(
    SimulationSpec,
    step_time_s=st.floats(min_value=0, max_value=60),
    prefill_time_per_token_s=st.floats(min_value=0, max_value=1),
    kv_capacity_tokens=st.integers(min_value=1, max_value=10**9),
    jitter_ratio=st.floats(min_value=0, max_value=1),
    seed=st.integers(min_value=-(2**53), max_value=2**53),
)


@given(spec=SPECS)
def test_settings_survive_the_command_line(spec: SimulationSpec) -> None:
    """`--additional-config` is JSON."""
    config = json.loads(json.dumps(additional_config(spec)))

    assert simulation_in(config) == spec


def test_absent_settings_have_their_defaults() -> None:
    """A server started by hand needs only the worker class."""
    assert simulation_in({}) == SimulationSpec()
    assert simulation_in(additional_config(None)) == SimulationSpec()
    assert simulation_in({CONFIG_KEY: {"seed": 3}}) == SimulationSpec(seed=3)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"seed": "x"}, "seed"),
        ({"step_time_s": -1}, "simulation.step_time_s must be between 0 and 60"),
        ({"kv_capacity_tokens": 0}, "simulation.kv_capacity_tokens must be at least 1"),
        ("fast", "dictionary"),
    ],
)
def test_bad_settings_are_named(settings: object, told: str) -> None:
    """A typing error ends the start, with the place."""
    with pytest.raises(UsageError, match=told):
        simulation_in({CONFIG_KEY: settings})
