"""Requests about sampling, stopping and what an answer shows of its tokens."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Final

from libs.testing.front_ends.cases import Body, Case, chat, completion, each

CROSSED: Final[dict[str, Body]] = {
    "max_tokens 9": {"max_tokens": 9},
    "top_p 0.9 at temperature 1": {"top_p": 0.9, "temperature": 1.0, "seed": 3},
    "top_k 5 at temperature 0.9": {"top_k": 5, "temperature": 0.9, "seed": 7},
    "min_p 0.05": {"min_p": 0.05},
    "presence penalty": {"presence_penalty": 1.2},
    "frequency penalty": {"frequency_penalty": 1.5},
    "repetition penalty": {"repetition_penalty": 1.4},
    "logit bias": {"logit_bias": {"300": 5.0, "2": -100}},
    "stop string": {"stop": [" dogs"]},
    "min_tokens": {"min_tokens": 12},
    "ignore_eos": {"ignore_eos": True, "max_tokens": 48},
    "stop token": {"stop_token_ids": [301, 302, 303]},
    "token ids returned": {"return_token_ids": True},
}
"""Options that are crossed, each with each."""

SINGLE: Final[dict[str, Body]] = {
    "plain": {},
    "temperature 0": {"temperature": 0},
    "temperature 0.7 with a seed": {"temperature": 0.7, "seed": 11},
    "temperature 2 with a seed": {"temperature": 2, "seed": 12},
    "temperature tiny": {"temperature": 0.001},
    "a negative seed": {"temperature": 1.0, "seed": -5},
    "a large seed": {"temperature": 1.0, "seed": 2**62},
    "seed 0": {"temperature": 1.0, "seed": 0},
    "top_k -1": {"top_k": -1},
    "top_k 0": {"top_k": 0},
    "top_k 1": {"top_k": 1, "temperature": 1.0},
    "top_p 1": {"top_p": 1},
    "min_p 1": {"min_p": 1.0, "temperature": 1.0},
    "allowed tokens": {"allowed_token_ids": [300, 301, 302], "max_tokens": 5},
    "bad words": {"bad_words": ["fox", "quick"]},
    "bad words that end the text": {"bad_words": ["END", " A"]},
    "an emoji as a bad word": {"bad_words": ["🦊"]},
    "logit bias forces a token": {"logit_bias": {"300": 100}, "max_tokens": 4},
    "an empty logit bias": {"logit_bias": {}},
    "logit bias beyond 100": {"logit_bias": {"300": 150}, "max_tokens": 4},
    "skip_special_tokens false": {"skip_special_tokens": False},
    "spaces_between_special_tokens false": {"spaces_between_special_tokens": False},
    "stop as a string": {"stop": "fox"},
    "stop across token borders": {"stop": ["k brown f"]},
    "stop inside a token": {"stop": ["umps ov"]},
    "stop at an emoji": {"stop": ["🦊"]},
    "stop behind an emoji": {"stop": ["🦊 j"]},
    "stop in the middle of a Chinese text": {"stop": ["語"]},
    "stop at an accented letter": {"stop": ["ï"]},
    "four stop strings": {"stop": ["zzz", "while", "over", "END"]},
    "five stop strings": {"stop": ["a1", "b2", "c3", "d4", "END"]},
    "stop that never comes": {"stop": ["never"]},
    "an empty list of stop strings": {"stop": []},
    "stop null": {"stop": None},
    "stop string that begins another": {"stop": ["over na", "over"]},
    "stop string in the output": {"stop": ["fox"], "include_stop_str_in_output": True},
    "stop over borders in the output": {
        "stop": ["k brown f"],
        "include_stop_str_in_output": True,
    },
    "stop at an emoji, in the output": {"stop": ["🦊"], "include_stop_str_in_output": True},
    "stop before min_tokens": {"stop": ["quick"], "min_tokens": 10},
    "stop with log probabilities cut": {"stop": ["umps ov"], "return_token_ids": True},
    "end of turn as a stop token": {"stop_token_ids": [2]},
    "a stop token in the output": {"stop_token_ids": [33], "include_stop_str_in_output": True},
    "min_tokens equal to max_tokens": {"min_tokens": 6, "max_tokens": 6},
    "an empty answer": {"logit_bias": {"2": 100}},
    "an empty answer, with the end in it": {"logit_bias": {"2": 100}, "skip_special_tokens": False},
    "max_tokens 1": {"max_tokens": 1},
    "max_tokens that cuts an emoji": {"max_tokens": 8},
    "max_tokens that cuts it later": {"max_tokens": 9},
    "max_tokens that cuts a Chinese character": {"max_tokens": 24},
    "max_tokens null": {"max_tokens": None},
    "ignore_eos up to the limit": {"ignore_eos": True, "max_tokens": 60},
    "length_penalty": {"length_penalty": 2.0},
    "user": {"user": "someone"},
    "cache salt": {"cache_salt": "salt"},
    "vllm_xargs": {"vllm_xargs": {"a": 1, "b": "c", "d": [1, "e"]}},
    "kv_transfer_params": {"kv_transfer_params": {"a": 1}},
    "ec_transfer_params": {"ec_transfer_params": {"a": 1}},
    "priority": {"priority": 3},
    "a negative priority": {"priority": -3},
    "a request id": {"request_id": "mine"},
    "a session id": {"session_id": "session"},
    "stream_interval": {"stream_interval": 4},
    "watermarking false": {"watermarking": False},
    "watermarking": {"watermarking": True},
    "repetition detection": {
        "repetition_detection": {"max_pattern_size": 4, "min_pattern_size": 1, "min_count": 3},
        "logit_bias": {"300": 100},
        "max_tokens": 30,
    },
    "thinking budget": {"thinking_token_budget": 5},
    "thinking budget unlimited": {"thinking_token_budget": -1},
    "routed_experts_prompt_start": {"routed_experts_prompt_start": 1},
    "return_token_offsets": {"return_token_offsets": True},
    "mm_payload": {"mm_payload": "none"},
    "return_mm_kwargs": {"return_mm_kwargs": False},
    "truncation": {"truncate_prompt_tokens": 3, "return_token_ids": True},
    "truncation from the right": {
        "truncate_prompt_tokens": 2,
        "truncation_side": "right",
        "return_token_ids": True,
    },
    "truncation from the left": {
        "truncate_prompt_tokens": 2,
        "truncation_side": "left",
        "return_token_ids": True,
    },
    "truncation to the model's length": {"truncate_prompt_tokens": -1},
    "special tokens added": {"add_special_tokens": True, "return_token_ids": True},
    "special tokens not added": {"add_special_tokens": False, "return_token_ids": True},
    "n 1": {"n": 1},
    "n 2": {"n": 2, "max_tokens": 6},
    "n 3 sampled": {"n": 3, "temperature": 1.0, "seed": 4, "max_tokens": 6},
    "beam search": {"use_beam_search": True, "n": 2, "max_tokens": 4, "temperature": 0},
    "beam search off": {"use_beam_search": False},
    "the alias": {"model": "alias"},
    "an unknown field": {"nobody_knows_this": {"a": [1]}},
    "echo false": {"echo": False},
    "prompt log probabilities": {"prompt_logprobs": 1, "max_tokens": 3},
    "prompt log probabilities 0": {"prompt_logprobs": 0, "max_tokens": 3},
    "token ids returned, false": {"return_token_ids": False},
}
"""Options alone."""

STREAMED: Final[dict[str, Body]] = {
    "without options": {"stream": True},
    "with null options": {"stream": True, "stream_options": None},
    "with empty options": {"stream": True, "stream_options": {}},
    "without usage": {"stream": True, "stream_options": {"include_usage": False}},
    "with usage": {"stream": True, "stream_options": {"include_usage": True}},
    "with usage in every chunk": {
        "stream": True,
        "stream_options": {"include_usage": True, "continuous_usage_stats": True},
    },
    "with usage in every chunk and none at the end": {
        "stream": True,
        "stream_options": {"include_usage": False, "continuous_usage_stats": True},
    },
    "with an obfuscation option": {
        "stream": True,
        "stream_options": {"include_usage": True, "include_obfuscation": True},
    },
    "with an unknown option": {"stream": True, "stream_options": {"a": 1}},
    "without a stream": {"stream": False, "stream_options": {"include_usage": True}},
    "stream null": {"stream": None},
    "one token": {"stream": True, "max_tokens": 1, "stream_options": {"include_usage": True}},
}


def sampling_cases() -> Iterator[Case]:
    """Return all of them."""
    for name, fields in {**CROSSED, **SINGLE}.items():
        yield from each(name, **fields)
    for (one, fields), (other, more) in combinations(CROSSED.items(), 2):
        yield from each(f"{one} x {other}", **{**fields, **more})
    for name, fields in STREAMED.items():
        yield from each(f"stream {name}", **fields)
    yield from _chat_log_probabilities()
    yield from _completion_log_probabilities()


def _chat_log_probabilities() -> Iterator[Case]:
    cases: dict[str, Body] = {
        "logprobs": {"logprobs": True},
        "logprobs false": {"logprobs": False},
        "top_logprobs 0": {"logprobs": True, "top_logprobs": 0},
        "top_logprobs 1": {"logprobs": True, "top_logprobs": 1},
        "top_logprobs 5": {"logprobs": True, "top_logprobs": 5},
        "top_logprobs 20": {"logprobs": True, "top_logprobs": 20, "max_tokens": 4},
        "top_logprobs 21": {"logprobs": True, "top_logprobs": 21},
        "top_logprobs -1": {"logprobs": True, "top_logprobs": -1, "max_tokens": 2},
        "top_logprobs -2": {"logprobs": True, "top_logprobs": -2},
        "top_logprobs without logprobs": {"top_logprobs": 3},
        "top_logprobs with logprobs false": {"logprobs": False, "top_logprobs": 3},
        "top_logprobs null": {"logprobs": True, "top_logprobs": None},
        "logprobs null": {"logprobs": None},
        "logprobs as a number": {"logprobs": 3},
        "logprobs and stop": {"logprobs": True, "top_logprobs": 2, "stop": ["k brown f"]},
        "logprobs and an emoji": {"logprobs": True, "top_logprobs": 2, "max_tokens": 12},
        "logprobs as token ids": {
            "logprobs": True,
            "top_logprobs": 2,
            "return_tokens_as_token_ids": True,
        },
        "logprob_token_ids": {"logprobs": True, "logprob_token_ids": [300, 301], "max_tokens": 3},
        "logprobs, sampled": {"logprobs": True, "temperature": 1.0, "seed": 5},
        "logprobs and penalties": {"logprobs": True, "top_logprobs": 2, "presence_penalty": 1.0},
        "return_prompt_text": {"return_prompt_text": True},
    }
    for name, fields in cases.items():
        yield from chat(name, **fields)


def _completion_log_probabilities() -> Iterator[Case]:
    cases: dict[str, Body] = {
        "logprobs 0": {"logprobs": 0},
        "logprobs 1": {"logprobs": 1},
        "logprobs 5": {"logprobs": 5},
        "logprobs 20": {"logprobs": 20, "max_tokens": 3},
        "logprobs 21": {"logprobs": 21},
        "logprobs -1": {"logprobs": -1, "max_tokens": 2},
        "logprobs -2": {"logprobs": -2},
        "logprobs true": {"logprobs": True},
        "logprobs null": {"logprobs": None},
        "logprobs and echo": {"logprobs": 2, "echo": True, "max_tokens": 3},
        "logprobs, echo and no new token": {"logprobs": 2, "echo": True, "max_tokens": 0},
        "logprobs and stop": {"logprobs": 1, "stop": ["k brown f"]},
        "logprobs and an emoji": {"logprobs": 2, "max_tokens": 14},
        "logprobs as token ids": {"logprobs": 2, "return_tokens_as_token_ids": True},
        "logprob_token_ids": {"logprobs": 1, "logprob_token_ids": [300, 301], "max_tokens": 3},
        "logprobs, sampled": {"logprobs": 1, "temperature": 1.0, "seed": 5},
        "echo": {"echo": True},
        "echo of one token": {"echo": True, "max_tokens": 1},
        "echo and no new token": {"echo": True, "max_tokens": 0},
        "echo and stop": {"echo": True, "stop": ["there"]},
        "echo with token ids": {"echo": True, "return_token_ids": True},
        "echo and prompt log probabilities": {"echo": True, "prompt_logprobs": 1},
        "echo of an emoji": {"echo": True, "prompt": "a🦊b"},
        "suffix": {"suffix": " and so on"},
        "an empty suffix": {"suffix": ""},
        "best_of": {"best_of": 2},
        "best_of 1": {"best_of": 1},
    }
    for name, fields in cases.items():
        yield from completion(name, **fields)
