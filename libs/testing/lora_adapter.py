"""LoRA adapters in PEFT's format, made on the spot: random weights, or none at all.

Source: PEFT checkpoint format, https://huggingface.co/docs/peft/developer_guides/checkpoint.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import numpy as np
from safetensors.numpy import save_file

_TARGETS: Final = ("q_proj", "v_proj")
_ALPHA: Final = 16
_SPREAD: Final = 0.1
"""Large enough that a text of a few tokens differs from the model's own."""


def write_adapter_config(folder: Path, *, rank: int = 8) -> Path:
    """Write an adapter without weights, which is all that a simulated device needs."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": rank,
        "lora_alpha": _ALPHA,
        "target_modules": list(_TARGETS),
        "bias": "none",
    }
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def write_adapter(folder: Path, *, model: Path, rank: int = 8, seed: int = 0) -> Path:
    """Write an adapter of random weights for the Llama-like model in a folder."""
    write_adapter_config(folder, rank=rank)
    random = np.random.default_rng(seed)
    inside, outside = _widths(json.loads((model / "config.json").read_text()))
    tensors = {
        f"base_model.model.model.layers.{layer}.self_attn.{target}.lora_{part}.weight": (
            _SPREAD * random.standard_normal(shape)
        ).astype(np.float32)
        for layer in range(len(outside))
        for target in _TARGETS
        for part, shape in (("A", (rank, inside)), ("B", (outside[layer][target], rank)))
    }
    save_file(tensors, folder / "adapter_model.safetensors")
    return folder


def _widths(config: dict[str, int]) -> tuple[int, list[dict[str, int]]]:
    """Return the width of a layer's input, and of each target's output in every layer."""
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    head = config.get("head_dim") or hidden // heads
    widths = {"q_proj": heads * head, "v_proj": config["num_key_value_heads"] * head}
    return hidden, [widths] * config["num_hidden_layers"]
