"""`up --replicas N` changes numbers and nothing else, and refuses what cannot fit.

Invariant: bounds stay bounds, whatever the file and the number.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.contracts.ids import ModelName
from libs.contracts.model_spec import Device, EngineSpec, ModelSpec, ScalingSpec
from libs.engine.arguments import GIB
from libs.errors import UsageError
from tools.cli.stack.replicas import require_room, with_replicas

SPEC = ModelSpec(
    name=ModelName("sim"),
    source="any",
    device=Device.SIMULATED,
    scaling=ScalingSpec(min=2, max=8),
)


def test_without_a_number_the_file_decides() -> None:
    """Nothing is touched."""
    assert with_replicas([SPEC], None) == (SPEC,)


@given(st.integers(0, 8), st.integers(0, 8), st.integers(1, 70))
def test_every_model_gets_the_number(low: int, more: int, count: int) -> None:
    """A higher maximum stays, a lower one rises."""
    high = max(1, low + more)
    spec = replace(SPEC, scaling=ScalingSpec(min=low, max=high))

    found = with_replicas([spec, SPEC], count)

    assert [each.scaling.min for each in found] == [count, count]
    assert found[0].scaling.max == max(high, count)
    assert replace(found[0], scaling=spec.scaling) == spec


def test_what_fits_passes() -> None:
    """A machine that does not tell its memory gets the benefit of the doubt."""
    four = with_replicas([SPEC], 4)

    require_room(four, slots=64, available_bytes=6 * GIB)
    require_room(four, slots=64, available_bytes=None)


def test_too_little_memory_is_told_in_numbers() -> None:
    """What is needed, what there is, and what to do."""
    eight = with_replicas([SPEC], 8)

    with pytest.raises(UsageError, match=r"8 replicas need about 12\.0 GiB .* 5\.0 GiB .*fewer"):
        require_room(eight, slots=64, available_bytes=5 * GIB)


def test_workers_beyond_the_nodes_slots_are_refused() -> None:
    """Two workers of one replica take two slots; a real GPU is Ray's to count."""
    shared = replace(SPEC, engine=EngineSpec(tensor_parallel_size=2))
    on_gpus = replace(shared, device=Device.CUDA)

    with pytest.raises(UsageError, match="66 workers, this node has room for 64"):
        require_room(with_replicas([shared], 33), slots=64, available_bytes=None)
    require_room(with_replicas([on_gpus], 33), slots=64, available_bytes=None)
