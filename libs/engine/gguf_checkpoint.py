"""Turns a GGUF file into an ordinary checkpoint: weights, tokenizer, chat template.

Run as `python -m libs.engine.gguf_checkpoint FILE.gguf FOLDER`.
"""

from __future__ import annotations

import sys
from pathlib import Path


def convert(gguf: Path, checkpoint: Path) -> None:
    """Dequantise a GGUF file to float32 and save it with its tokenizer."""
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    model = AutoModelForCausalLM.from_pretrained(
        gguf.parent, gguf_file=gguf.name, quantization_config=GgufConfig(dequantize=True)
    )
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    model.save_pretrained(checkpoint)
    tokenizer.save_pretrained(checkpoint)


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
