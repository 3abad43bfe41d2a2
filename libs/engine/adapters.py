"""Where an adapter's files are, and whether an engine can take them: told before it tries.

An engine stands still while it reads an adapter, so what can be found out beforehand is.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from libs.contracts.model_spec import AdapterSpec, Device, ModelSpec
from libs.engine.sources import HUB_ID
from libs.errors import UsageError

CONFIG_FILE: Final = "adapter_config.json"
WEIGHTS_FILES: Final = ("adapter_model.safetensors", "adapter_model.bin", "adapter_model.pt")
"""Source: PEFT checkpoint format; vLLM 0.32, vllm/lora/lora_model.py."""


def check_adapters(spec: ModelSpec) -> None:
    """Check every adapter of a model that lies on this machine.

    Raises:
        UsageError: a directory is missing or holds no adapter that the model's engine can take.
    """
    for adapter in spec.adapters:
        if not is_hub_id(adapter.source):
            check_folder(adapter, spec)


def is_hub_id(source: str) -> bool:
    """Tell whether a source is to be fetched from a hub: `owner/name`, whatever lies here."""
    return bool(HUB_ID.fullmatch(source))


def check_folder(adapter: AdapterSpec, spec: ModelSpec, *, folder: Path | None = None) -> Path:
    """Check an adapter's directory, by default the one that its source names, and return it.

    A simulated device reads no weights, so it needs none.

    Raises:
        UsageError: it is missing, holds no adapter, or its rank is above `engine.max_lora_rank`.
    """
    place = (folder or Path(adapter.source).expanduser()).absolute()
    if not place.is_dir():
        raise UsageError(f"adapter {adapter.name}: the directory {place} does not exist")
    rank = _rank(adapter, place / CONFIG_FILE)
    if rank > spec.engine.max_lora_rank:
        raise UsageError(
            f"adapter {adapter.name}: its rank {rank} is above "
            f"engine.max_lora_rank {spec.engine.max_lora_rank} of model {spec.name}"
        )
    has_weights = any((place / name).is_file() for name in WEIGHTS_FILES)
    if spec.device is not Device.SIMULATED and not has_weights:
        raise UsageError(f"adapter {adapter.name}: {place} has no {WEIGHTS_FILES[0]}")
    return place


def _rank(adapter: AdapterSpec, config: Path) -> int:
    """Return the largest rank that a configuration names."""
    try:
        tree = json.loads(config.read_text())
        ranks: list[object] = [tree["r"], *(tree.get("rank_pattern") or {}).values()]
    except OSError as exc:
        raise UsageError(f"adapter {adapter.name}: {config}: {exc.strerror}") from exc
    except (ValueError, TypeError, KeyError, AttributeError) as exc:
        raise UsageError(
            f"adapter {adapter.name}: {config} is no LoRA configuration in PEFT's format"
        ) from exc
    known = [rank for rank in ranks if isinstance(rank, int)]
    if len(known) < len(ranks):
        raise UsageError(f"adapter {adapter.name}: {config} has a rank that is no number")
    return max(known)
