"""Whether a model fits into memory, from the headers of its files."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from libs.contracts.ids import ModelName
from libs.contracts.model_spec import Device, EngineSpec, ModelSpec
from libs.engine.memory import (
    PROCESSES_BYTES,
    available_memory_bytes,
    check_memory,
    count_parameters,
    estimate_memory_bytes,
)
from libs.engine.sources import ModelSource
from libs.errors import UsageError

GIB = 2**30


def write_safetensors(path: Path, *shapes: tuple[int, ...]) -> None:
    """Write a header without the tensors that it promises."""
    header = {f"t{n}": {"dtype": "F32", "shape": shape} for n, shape in enumerate(shapes)}
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text)


def spec(device: Device = Device.CPU, *, dtype: str | None = None) -> ModelSpec:
    """Return a model with half a GiB of cache."""
    return ModelSpec(
        name=ModelName("big"),
        source="x",
        device=device,
        engine=EngineSpec(kv_cache_gib=0.5, dtype=dtype),
    )


def local(folder: Path) -> ModelSource:
    """Return a folder as a source."""
    return ModelSource(model=str(folder), is_local=True)


def test_parameters_are_counted_over_all_files(tmp_path: Path) -> None:
    """Shards add up; a scalar is one."""
    write_safetensors(tmp_path / "a.safetensors", (10, 10), ())
    write_safetensors(tmp_path / "b.safetensors", (5,))

    assert count_parameters(tmp_path) == 106


@pytest.mark.parametrize(
    "body", [b"", b"1234567", struct.pack("<Q", 2**60), b"\2" + b"\0" * 7 + b"[]"]
)
def test_a_broken_file_makes_the_count_unknown(tmp_path: Path, body: bytes) -> None:
    """Unknown is not zero."""
    (tmp_path / "a.safetensors").write_bytes(body)

    assert count_parameters(tmp_path) is None


@pytest.mark.parametrize(("dtype", "element_bytes"), [(None, 4), ("bfloat16", 2), ("auto", 2)])
def test_the_estimate_is_weights_cache_and_processes(
    tmp_path: Path, dtype: str | None, element_bytes: int
) -> None:
    """float32 is the default on CPU."""
    write_safetensors(tmp_path / "a.safetensors", (1_000, 1_000))

    estimate = estimate_memory_bytes(spec(dtype=dtype), local(tmp_path))

    assert estimate == 1_000_000 * element_bytes + GIB // 2 + PROCESSES_BYTES


def test_a_model_too_large_is_refused_with_figures(tmp_path: Path) -> None:
    """Told before a minute is spent on loading."""
    write_safetensors(tmp_path / "a.safetensors", (10 * GIB,))

    with pytest.raises(UsageError, match=r"too large for memory.*42\.0 GiB.*8\.0 GiB"):
        check_memory(spec(), local(tmp_path), available_bytes=8 * GIB)


def test_a_model_that_fits_passes(tmp_path: Path) -> None:
    """The limit itself fits."""
    write_safetensors(tmp_path / "a.safetensors", (GIB,))

    check_memory(spec(), local(tmp_path), available_bytes=6 * GIB)


@pytest.mark.parametrize("device", [Device.CUDA, Device.SIMULATED])
def test_other_devices_are_not_judged(tmp_path: Path, device: Device) -> None:
    """VLLM measures a GPU itself, and a simulated device loads nothing."""
    write_safetensors(tmp_path / "a.safetensors", (10 * GIB,))

    check_memory(spec(device), local(tmp_path), available_bytes=0)


def test_a_model_without_safetensors_is_not_judged(tmp_path: Path) -> None:
    """What cannot be judged is not refused."""
    check_memory(spec(), local(tmp_path), available_bytes=0)


def test_this_machine_says_how_much_memory_it_has() -> None:
    """Linux does."""
    available = available_memory_bytes()

    assert available is not None
    assert available > 2**20
