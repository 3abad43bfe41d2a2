"""Whether an engine can take an adapter, told before it tries."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from libs.contracts.ids import ModelName
from libs.contracts.model_spec import AdapterSpec, Device, EngineSpec, ModelSpec
from libs.engine.adapters import check_adapters, check_folder, is_hub_id
from libs.errors import UsageError
from libs.testing.lora_adapter import write_adapter_config


def model(source: str, device: Device = Device.CPU) -> ModelSpec:
    """Return a model with one adapter."""
    return ModelSpec(
        name=ModelName("m"),
        source="x",
        device=device,
        adapters=(AdapterSpec(name="sql", source=source),),
        engine=EngineSpec(max_loras=1, max_lora_rank=16),
    )


def complaint(spec: ModelSpec) -> str:
    """Return why its adapter is refused."""
    with pytest.raises(UsageError) as caught:
        check_adapters(spec)
    return str(caught.value)


def test_a_folder_in_pefts_format_is_taken(tmp_path: Path) -> None:
    """Its absolute path is what the engine gets."""
    folder = write_adapter_config(tmp_path / "sql")
    (folder / "adapter_model.safetensors").touch()
    spec = model(str(folder))

    check_adapters(spec)

    assert check_folder(spec.adapters[0], spec) == folder


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    """Before anything is written."""
    said = complaint(model(str(tmp_path / "lost")))

    assert said == f"adapter sql: the directory {tmp_path / 'lost'} does not exist"


def test_a_rank_above_the_engines_is_refused(tmp_path: Path) -> None:
    """The engine would refuse it too, but only while it stands still."""
    spec = model(str(write_adapter_config(tmp_path, rank=32)))

    assert "its rank 32 is above engine.max_lora_rank 16 of model m" in complaint(spec)


def test_a_rank_of_a_single_layer_counts_too(tmp_path: Path) -> None:
    """PEFT can give layers ranks of their own."""
    (tmp_path / "adapter_config.json").write_text(json.dumps({"r": 8, "rank_pattern": {"q": 64}}))

    assert "its rank 64" in complaint(model(str(tmp_path)))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is no LoRA configuration"),
        ("[]", "is no LoRA configuration"),
        ('{"lora_alpha": 3}', "is no LoRA configuration"),
        ('{"r": 8, "rank_pattern": []}', "has no adapter_model.safetensors"),
        ('{"r": 8, "rank_pattern": 7}', "is no LoRA configuration"),
        ('{"r": "8"}', "has a rank that is no number"),
    ],
)
def test_a_broken_configuration_is_refused_in_one_line(
    tmp_path: Path, text: str, said: str
) -> None:
    """Whatever stands in it."""
    (tmp_path / "adapter_config.json").write_text(text)

    found = complaint(model(str(tmp_path)))

    assert said in found
    assert "\n" not in found


def test_a_simulated_device_needs_no_weights(tmp_path: Path) -> None:
    """It reads none."""
    check_adapters(model(str(write_adapter_config(tmp_path)), Device.SIMULATED))


def test_a_hub_id_is_left_to_the_replica(tmp_path: Path) -> None:
    """A folder of that name comes first."""
    check_adapters(model("owner/name"))

    assert is_hub_id("owner/name")
    assert not is_hub_id(str(tmp_path))
    assert not is_hub_id("../name")
