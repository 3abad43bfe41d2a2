"""Requests that are wrong in some way: in a value, the body, its type, or a header."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

from libs.testing.front_ends.cases import (
    CHAT,
    COMPLETIONS,
    JSON_TYPE,
    MODEL,
    PROMPT,
    USER,
    Body,
    Case,
    chat,
    completion,
    each,
    post,
)

OUT_OF_RANGE: Final[dict[str, Body]] = {
    "temperature -1": {"temperature": -1},
    "temperature 100": {"temperature": 100, "seed": 1, "max_tokens": 2},
    "temperature as text": {"temperature": "0.5", "seed": 1},
    "temperature as other text": {"temperature": "hot"},
    "temperature null": {"temperature": None},
    "temperature as a list": {"temperature": [1]},
    "temperature true": {"temperature": True, "seed": 1},
    "temperature 1e308": {"temperature": 1e308},
    "top_p 0": {"top_p": 0},
    "top_p 1.1": {"top_p": 1.1},
    "top_p -0.1": {"top_p": -0.1},
    "top_p null": {"top_p": None},
    "top_k -2": {"top_k": -2},
    "top_k 1.5": {"top_k": 1.5},
    "top_k 5.0": {"top_k": 5.0},
    "top_k huge": {"top_k": 10**6},
    "top_k beyond 64 bits": {"top_k": 2**70},
    "min_p 2": {"min_p": 2},
    "min_p -1": {"min_p": -1},
    "presence_penalty 3": {"presence_penalty": 3},
    "frequency_penalty -3": {"frequency_penalty": -3},
    "repetition_penalty 0": {"repetition_penalty": 0},
    "repetition_penalty -1": {"repetition_penalty": -1},
    "max_tokens 0": {"max_tokens": 0},
    "max_tokens -1": {"max_tokens": -1},
    "max_tokens beyond the model": {"max_tokens": 10_000},
    "max_tokens beyond 32 bits": {"max_tokens": 2**40},
    "max_tokens beyond 64 bits": {"max_tokens": 2**70},
    "max_tokens 4.0": {"max_tokens": 4.0},
    "max_tokens 4.5": {"max_tokens": 4.5},
    "max_tokens as text": {"max_tokens": "4"},
    "max_tokens true": {"max_tokens": True},
    "min_tokens -1": {"min_tokens": -1},
    "min_tokens over max_tokens": {"min_tokens": 9, "max_tokens": 3},
    "min_tokens null": {"min_tokens": None},
    "n 0": {"n": 0},
    "n -1": {"n": -1},
    "n null": {"n": None},
    "n as text": {"n": "1"},
    "n 1.0": {"n": 1.0},
    "n true": {"n": True},
    "n huge": {"n": 10**6},
    "seed as text": {"seed": "7", "temperature": 1.0},
    "seed beyond 64 bits": {"seed": 2**64},
    "seed 1.5": {"seed": 1.5},
    "stop of a number": {"stop": 5},
    "stop of an empty text": {"stop": ""},
    "stop of an empty text in a list": {"stop": [""]},
    "stop of numbers": {"stop": [5]},
    "many stop strings": {"stop": [f"s{n}" for n in range(40)]},
    "stop_token_ids null": {"stop_token_ids": None},
    "stop_token_ids of text": {"stop_token_ids": ["a"]},
    "stop_token_ids out of range": {"stop_token_ids": [10**6]},
    "stop_token_ids negative": {"stop_token_ids": [-1]},
    "allowed_token_ids empty": {"allowed_token_ids": []},
    "allowed_token_ids out of range": {"allowed_token_ids": [10**6]},
    "allowed_token_ids negative": {"allowed_token_ids": [-1]},
    "bad_words null": {"bad_words": None},
    "bad_words of an empty text": {"bad_words": [""]},
    "bad_words as text": {"bad_words": "fox"},
    "logit_bias of text": {"logit_bias": {"a": 1}},
    "logit_bias out of range": {"logit_bias": {"1000000": 1}},
    "logit_bias as a list": {"logit_bias": [1]},
    "logit_bias null value": {"logit_bias": {"300": None}},
    "logit_bias negative token": {"logit_bias": {"-1": 1}},
    "ignore_eos null": {"ignore_eos": None},
    "ignore_eos as text": {"ignore_eos": "true"},
    "ignore_eos as a number": {"ignore_eos": 1, "max_tokens": 45},
    "stream as text": {"stream": "true"},
    "stream as a number": {"stream": 1},
    "stream as no": {"stream": "no"},
    "stream as a list": {"stream": []},
    "stream_options as text": {"stream": True, "stream_options": "x"},
    "prompt_logprobs 20": {"prompt_logprobs": 20, "max_tokens": 1},
    "prompt_logprobs 21": {"prompt_logprobs": 21},
    "prompt_logprobs -1": {"prompt_logprobs": -1, "max_tokens": 1},
    "prompt_logprobs -2": {"prompt_logprobs": -2},
    "prompt_logprobs as text": {"prompt_logprobs": "1"},
    "truncate_prompt_tokens 0": {"truncate_prompt_tokens": 0},
    "truncate_prompt_tokens -2": {"truncate_prompt_tokens": -2},
    "truncate_prompt_tokens huge": {"truncate_prompt_tokens": 10**6},
    "truncation_side up": {"truncation_side": "up"},
    "priority as text": {"priority": "high"},
    "priority null": {"priority": None},
    "priority beyond 64 bits": {"priority": 2**64},
    "priority beyond 32 bits": {"priority": 2**40},
    "request_id null": {"request_id": None},
    "request_id a number": {"request_id": 5},
    "request_id empty": {"request_id": ""},
    "cache_salt empty": {"cache_salt": ""},
    "cache_salt a number": {"cache_salt": 5},
    "cache_salt too long": {"cache_salt": "x" * 2000},
    "vllm_xargs of objects": {"vllm_xargs": {"a": {"b": 1}}},
    "stream_interval 0": {"stream_interval": 0},
    "thinking budget -2": {"thinking_token_budget": -2},
    "echo as text": {"echo": "yes"},
    "user a number": {"user": 5},
    "skip_special_tokens null": {"skip_special_tokens": None},
    "include_stop_str_in_output null": {"include_stop_str_in_output": None},
    "repetition_detection of nothing": {"repetition_detection": {}},
    "return_token_ids as text": {"return_token_ids": "true"},
    "no model": {"model": None},
    "an empty model": {"model": ""},
    "an unknown model": {"model": "unknown"},
    "a model that is a number": {"model": 5},
    "a model in other letters": {"model": "M"},
    "beam search with n 1": {"use_beam_search": True, "max_tokens": 3},
}

_GOOD: Final = {"model": MODEL, "messages": [USER], "max_tokens": 4}
_GOOD_COMPLETION: Final = {"model": MODEL, "prompt": PROMPT, "max_tokens": 4}
_TEXT: Final = json.dumps(_GOOD)

BODIES: Final[dict[str, bytes]] = {
    "empty": b"",
    "null": b"null",
    "a list": b"[]",
    "a text": b'"x"',
    "an empty object": b"{}",
    "cut": _TEXT[:-3].encode(),
    "followed by more": _TEXT.encode() + b" x",
    "two objects": _TEXT.encode() * 2,
    "spaces around": b" \r\n\t" + _TEXT.encode() + b"\n ",
    "a byte order mark": b"\xef\xbb\xbf" + _TEXT.encode(),
    "UTF-16": _TEXT.encode("utf-16"),
    "UTF-16 without a mark": _TEXT.encode("utf-16-le"),
    "UTF-32": _TEXT.encode("utf-32-le"),
    "invalid UTF-8": _TEXT.replace("France", "\udcff").encode("utf-8", "surrogateescape"),
    "overlong UTF-8": _TEXT.encode().replace(b"France", b"\xc0\xaf"),
    "an encoded surrogate": _TEXT.encode().replace(b"France", b"\xed\xa0\x80"),
    "a lone surrogate escape": _TEXT.replace("France", "\\ud83e").encode(),
    "a surrogate pair": _TEXT.replace("France", "\\ud83e\\udd8a").encode(),
    "a control character": _TEXT.replace("France", "\n").encode(),
    "a trailing comma": _TEXT.replace("}", ",}").encode(),
    "single quotes": _TEXT.replace('"', "'").encode(),
    "a comment": b"/* hello */" + _TEXT.encode(),
    "NaN": _TEXT.replace("4}", '4, "temperature": NaN}').encode(),
    "Infinity": _TEXT.replace("4}", '4, "temperature": Infinity}').encode(),
    "NaN in an unknown field": _TEXT.replace("4}", '4, "x": NaN}').encode(),
    "1e999 in an unknown field": _TEXT.replace("4}", '4, "x": 1e999}').encode(),
    "a huge integer in an unknown field": _TEXT.replace("4}", f'4, "x": {"9" * 400}}}').encode(),
    "an enormous integer": _TEXT.replace("4}", f'4, "x": {"9" * 5000}}}').encode(),
    "a number with a leading zero": _TEXT.replace("4}", '4, "x": 01}').encode(),
    "a number with a plus": _TEXT.replace("4}", '4, "x": +1}').encode(),
    "-0": _TEXT.replace("4}", '4, "temperature": -0}').encode(),
    "an exponent": _TEXT.replace("4}", "4e0}").encode(),
    "max_tokens twice": _TEXT.replace("4}", '4, "max_tokens": 6}').encode(),
    "the model twice": _TEXT.replace("4}", '4, "model": "m"}').encode(),
    "two models": _TEXT.replace("4}", '4, "model": "unknown"}').encode(),
    "stream twice": _TEXT.replace("4}", '4, "stream": false, "stream": true}').encode(),
    "an unknown field twice": _TEXT.replace("4}", '4, "x": 1, "x": 2}').encode(),
    "a field of a message twice": _TEXT.replace('"role"', '"role": "system", "role"').encode(),
    "an escaped key": _TEXT.replace('"model"', '"m\\u006fdel"').encode(),
    "a key in other letters": _TEXT.replace('"max_tokens"', '"Max_Tokens"').encode(),
    "an empty key": _TEXT.replace("4}", '4, "": 1}').encode(),
    "100 levels": _TEXT.replace("4}", f'4, "x": {"[" * 100}{"]" * 100}}}').encode(),
    "200 levels": _TEXT.replace("4}", f'4, "x": {"[" * 200}{"]" * 200}}}').encode(),
    "2,000 levels": _TEXT.replace("4}", f'4, "x": {"[" * 2000}{"]" * 2000}}}').encode(),
    "100,000 levels": b"[" * 100_000,
    "a megabyte in an unknown field": _TEXT.replace("4}", f'4, "x": "{"y" * 10**6}"}}').encode(),
    "thirty megabytes in an unknown field": _TEXT.replace(
        "4}", f'4, "x": "{"y" * 30 * 10**6}"}}'
    ).encode(),
    "three megabytes of a message": _TEXT.replace("France", "y" * 3 * 10**6).encode(),
}

TYPES: Final = (
    "application/json; charset=utf-8",
    "application/json;charset=latin-1",
    "APPLICATION/JSON",
    "text/json",
    "text/plain",
    "application/x-www-form-urlencoded",
    "application/problem+json",
    "multipart/form-data; boundary=x",
    "",
    "nonsense",
)


def error_cases() -> Iterator[Case]:
    """Return all of them."""
    for name, fields in OUT_OF_RANGE.items():
        yield from each(name, **fields)
    for name, body in BODIES.items():
        yield Case(name=f"body {name}", path=CHAT, body=body)
        other = body.replace(
            json.dumps({"messages": [USER]})[1:-1].encode(), f'"prompt": "{PROMPT}"'.encode()
        )
        yield Case(name=f"body of a completion {name}", path=COMPLETIONS, body=other)
    for kind in TYPES:
        for path, good in ((CHAT, _GOOD), (COMPLETIONS, _GOOD_COMPLETION)):
            yield Case(
                name=f"type {kind!r} {path}",
                path=path,
                body=json.dumps(good).encode(),
                headers={"content-type": kind},
            )
    yield Case(name="no type", path=CHAT, body=_TEXT.encode(), headers={})
    yield from chat("without messages", messages=None)
    yield from chat("messages as text", messages="Hello")
    yield from chat("messages as an object", messages=USER)
    yield from chat("a prompt too", prompt="Hello")
    yield from completion("messages too", messages=[USER])
    yield from _missing()
    yield from _headers()


def _missing() -> Iterator[Case]:
    yield post("chat without a model", CHAT, {"messages": [USER], "max_tokens": 4})
    yield post("chat without messages at all", CHAT, {"model": MODEL})
    yield post("completion without a model", COMPLETIONS, {"prompt": PROMPT})
    yield post("completion without a prompt", COMPLETIONS, {"model": MODEL})


def _headers() -> Iterator[Case]:
    for name, headers in {
        "a request id": {"x-request-id": "mine"},
        "a request id of 200 characters": {"x-request-id": "y" * 200},
        "a priority": {"x-vllm-priority": "-2"},
        "a priority that is none": {"x-vllm-priority": "high"},
        "a data parallel rank": {"x-data-parallel-rank": "0"},
        "a data parallel rank that is too high": {"x-data-parallel-rank": "9"},
        "a data parallel rank that is none": {"x-data-parallel-rank": "x"},
        "a session": {"x-session-id": "s"},
        "a trace": {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"},
        "a key": {"authorization": "Bearer something"},
        "an accepted type": {"accept": "text/event-stream"},
        "an accepted coding": {"accept-encoding": "gzip"},
        "chunks": {"transfer-encoding": "chunked"},
        "an origin": {"origin": "http://example.com"},
        "an expectation of engine statistics": {"endpoint-load-metrics-format": "json"},
    }.items():
        yield Case(
            name=f"header {name}",
            path=CHAT,
            body=_TEXT.encode(),
            headers={"content-type": JSON_TYPE, **headers},
        )
