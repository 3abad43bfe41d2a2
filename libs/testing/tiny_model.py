"""A model folder without weights: a tokenizer of plain words and a small configuration.

It is all that a simulated device needs, and each word of a prompt is one token.
"""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Final

SPECIAL_TOKENS: Final = ("<unk>", "<s>", "</s>")
WORDS: Final = tuple(a + b for a, b in product("abcdefghijklmnopqrst", repeat=2))
"""The vocabulary; anything else is unknown to the tokenizer."""

_CHAT_TEMPLATE: Final = "{% for message in messages %}{{ message.content }} {% endfor %}"


def write_tiny_model(folder: Path, *, context_tokens: int = 2048) -> Path:
    """Write the folder's files and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(_config(context_tokens)))
    (folder / "tokenizer.json").write_text(json.dumps(_tokenizer()))
    (folder / "tokenizer_config.json").write_text(json.dumps(_tokenizer_config()))
    return folder


def words(count: int, *, first: int = 0) -> str:
    """Return a prompt of so many tokens, which differs with `first`."""
    return " ".join(WORDS[(first + 7 * number) % len(WORDS)] for number in range(count))


def _config(context_tokens: int) -> dict[str, object]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": len(SPECIAL_TOKENS) + len(WORDS),
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "num_key_value_heads": 1,
        "max_position_embeddings": context_tokens,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "dtype": "float32",
    }


def _tokenizer_config() -> dict[str, object]:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "unk_token": "<unk>",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "chat_template": _CHAT_TEMPLATE,
    }


def _tokenizer() -> dict[str, object]:
    """Return a tokenizer.json of format 1.0.

    Source: https://github.com/huggingface/tokenizers.
    """
    space = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    tokens = [*SPECIAL_TOKENS, *(f"▁{word}" for word in WORDS)]
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {
        "version": "1.0",
        "added_tokens": [
            {"id": number, "content": text, "special": True, **flags}
            for number, text in enumerate(SPECIAL_TOKENS)
        ],
        "pre_tokenizer": space,
        "decoder": space,
        "model": {
            "type": "WordLevel",
            "vocab": {text: number for number, text in enumerate(tokens)},
            "unk_token": "<unk>",
        },
    }
