"""Every scalar field with a value of every other type, and every field with null.

Python's protocol converts what it can (a number in a text, 4.0, true); Rust's refuses it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from libs.testing.front_ends.cases import (
    CHAT,
    COMPLETIONS,
    MODEL,
    PROMPT,
    USER,
    Case,
    post,
)

NUMBERS: Final = (
    *("temperature", "top_p", "min_p", "presence_penalty", "frequency_penalty"),
    *("repetition_penalty", "length_penalty"),
)
INTEGERS: Final = (
    *("max_tokens", "max_completion_tokens", "min_tokens", "top_k", "seed", "n", "logprobs"),
    *("top_logprobs", "prompt_logprobs", "truncate_prompt_tokens", "priority"),
    *("thinking_token_budget", "stream_interval", "routed_experts_prompt_start"),
)
BOOLEANS: Final = (
    *("stream", "ignore_eos", "skip_special_tokens", "spaces_between_special_tokens"),
    *("include_stop_str_in_output", "echo", "use_beam_search", "add_generation_prompt"),
    *("continue_final_message", "add_special_tokens", "include_reasoning", "parallel_tool_calls"),
    *("return_token_ids", "return_tokens_as_token_ids", "return_token_offsets", "watermarking"),
    *("return_prompt_text", "return_mm_kwargs"),
)
TEXTS: Final = (
    *("user", "suffix", "cache_salt", "request_id", "session_id", "truncation_side"),
    *("reasoning_effort", "chat_template", "tool_choice", "mm_payload", "service_tier"),
)
OTHERS: Final = (
    *("stop", "stop_token_ids", "logit_bias", "bad_words", "allowed_token_ids", "tools"),
    *("response_format", "structured_outputs", "stream_options", "chat_template_kwargs"),
    *("documents", "vllm_xargs", "kv_transfer_params", "ec_transfer_params", "metadata"),
    *("repetition_detection", "logprob_token_ids", "media_io_kwargs", "mm_processor_kwargs"),
    *("prompt_embeds",),
)

WRONG: Final[Mapping[tuple[str, ...], Mapping[str, object]]] = {
    NUMBERS: {"as text": "1", "as true": True, "as an integer": 1, "as a list": []},
    INTEGERS: {"as text": "1", "as true": True, "as a fraction": 1.0, "as a list": []},
    BOOLEANS: {"as text": "true", "as an integer": 1, "as a fraction": 1.0, "as other text": "on"},
    TEXTS: {"as an integer": 1, "as true": True, "as an empty text": "", "as a list": ["x"]},
    OTHERS: {"as an integer": 1, "as text": "1", "as an empty list": [], "as an object": {}},
}
_STREAM_OPTIONS: Final = ("include_usage", "continuous_usage_stats")


def type_cases() -> Iterator[Case]:
    """Return all of them; what is asked is cheap, so none is streamed."""
    for names, values in WRONG.items():
        for name in names:
            for kind, value in {**values, "as null": None}.items():
                yield from _each(f"{name} {kind}", {name: value})
    for name in _STREAM_OPTIONS:
        for kind, value in {**WRONG[BOOLEANS], "as null": None}.items():
            options = {"stream": True, "stream_options": {name: value}}
            yield from _each(f"option {name} {kind}", options)


def _each(name: str, fields: Mapping[str, object]) -> Iterator[Case]:
    seeded = {"model": MODEL, "seed": 1, "max_tokens": 3}
    yield post(f"chat type {name}", CHAT, {**seeded, "messages": [USER], **fields})
    yield post(f"completion type {name}", COMPLETIONS, {**seeded, "prompt": PROMPT, **fields})
