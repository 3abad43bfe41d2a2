"""A real model whose text is known: each token has one successor, as in a written-out sentence.

vLLM loads it like any other model, on a CPU, with its own sampler: log probabilities, penalties,
structured output and prompt log probabilities are real, a step takes about a millisecond, and
nothing has to be downloaded. It is a Llama of one layer whose attention and MLP add nothing, so the
logits depend on the newest token alone:

    logits(i)[j] = scale * sqrt(width) * e_i . sum of e_k over all k whose successor is j

with random directions e. The successor stands out by `scale * sqrt(width)`, about nine standard
deviations of the others' noise: greedy text is the chain, and sampled text leaves it now and then.

The tokenizer is byte-level BPE with a small vocabulary, so emoji, Chinese and accented letters are
split over several tokens. The chain starts behind the chat template's generation prompt, and ends
with the end-of-turn token.
"""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

TEXT: Final = (
    "Hello there! A quick brown fox🦊 jumps over naïve dogs, while水語waits. Numbers: 12345 & END"
)
"""What the model says to any chat, one token after the other; no token comes twice."""

SPECIAL_TOKENS: Final = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
END_OF_TEXT: Final = 0
END_OF_TURN: Final = 2

_TEMPLATE: Final = (
    "{%- if tools %}<|im_start|>tools\n{{ tools | tojson }}<|im_end|>\n{% endif -%}"
    "{%- if thinking is defined %}<|im_start|>thinking {{ thinking }}<|im_end|>\n{% endif -%}"
    "{%- for message in messages %}"
    "{{ '<|im_start|>' + message['role'] }}"
    "{%- if message['name'] %} {{ message['name'] }}{% endif %}\n"
    "{{- message['content'] }}"
    "{%- if message['tool_calls'] %}{{ message['tool_calls'] | tojson }}{% endif %}"
    "{{- '<|im_end|>\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

_VOCABULARY: Final = 700
_WIDTH: Final = 128
_HEADS: Final = 2
_SCALE: Final = 0.8
_SEED: Final = 20_260
_CORPUS: Final = (
    TEXT,
    "system user assistant tool developer What is the capital of France? Paris.",
    '{"name": "value", "city": "Paris", "age": 12, "items": [1, 2, 3], "ok": true}',
    "def main(): return 0 # the end of a line, and the beginning of another one",
)


def write_chain_model(folder: Path, *, context_tokens: int = 512) -> Path:
    """Write the model's folder and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    files = {
        "config.json": _config(tokenizer.get_vocab_size(), context_tokens),
        "tokenizer_config.json": _tokenizer_config(),
        "generation_config.json": {"eos_token_id": [END_OF_TURN, END_OF_TEXT], "temperature": 0.0},
    }
    for name, tree in files.items():
        (folder / name).write_text(json.dumps(tree))
    save_file(_weights(tokenizer), folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def _tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        limit_alphabet=256,
        show_progress=False,
    )
    # Without the emoji and the Chinese words, which so remain single bytes.
    ascii_only = [text.encode("ascii", "ignore").decode() for text in _CORPUS]
    tokenizer.train_from_iterator(ascii_only, trainer)
    return tokenizer


def _weights(tokenizer: Tokenizer) -> dict[str, npt.NDArray[np.float32]]:
    size = tokenizer.get_vocab_size()
    random = np.random.default_rng(_SEED)
    embedding = random.standard_normal((size, _WIDTH)).astype(np.float32)
    embedding /= np.linalg.norm(embedding, axis=1, keepdims=True)
    head = np.zeros_like(embedding)
    for token, successor in enumerate(_successors(tokenizer)):
        head[successor] += _SCALE * embedding[token]
    nothing = np.zeros((_WIDTH, _WIDTH), np.float32)
    ones = np.ones(_WIDTH, np.float32)
    layer = "model.layers.0"
    projections = ("self_attn.q", "self_attn.k", "self_attn.v", "self_attn.o")
    mlp = ("mlp.gate", "mlp.up", "mlp.down")
    return {
        "model.embed_tokens.weight": embedding,
        "lm_head.weight": head,
        "model.norm.weight": ones,
        f"{layer}.input_layernorm.weight": ones.copy(),
        f"{layer}.post_attention_layernorm.weight": ones.copy(),
        **{f"{layer}.{name}_proj.weight": nothing.copy() for name in (*projections, *mlp)},
    }


def _successors(tokenizer: Tokenizer) -> list[int]:
    """Return each token's successor: the text's where it has one, else a random one."""
    size = tokenizer.get_vocab_size()
    random = np.random.default_rng(_SEED + 1)
    successors = [int(token) for token in random.integers(len(SPECIAL_TOKENS), size, size)]
    newline = tokenizer.encode("\n").ids
    chain = [*newline, *tokenizer.encode(TEXT).ids, END_OF_TURN]
    # The first occurrence wins: otherwise a letter that comes twice would skip what is between.
    for token, successor in reversed(list(pairwise(chain))):
        successors[token] = successor
    return successors


def _config(vocabulary: int, context_tokens: int) -> dict[str, object]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": vocabulary,
        "hidden_size": _WIDTH,
        "intermediate_size": _WIDTH,
        "num_hidden_layers": 1,
        "num_attention_heads": _HEADS,
        "num_key_value_heads": _HEADS,
        "max_position_embeddings": context_tokens,
        "bos_token_id": END_OF_TEXT,
        "eos_token_id": END_OF_TURN,
        "tie_word_embeddings": False,
        "dtype": "float32",
    }


def _tokenizer_config() -> dict[str, object]:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": SPECIAL_TOKENS[0],
        "eos_token": SPECIAL_TOKENS[2],
        "clean_up_tokenization_spaces": False,
        "chat_template": _TEMPLATE,
    }
