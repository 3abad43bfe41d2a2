"""Requests to other paths than chats and completions, and by other methods."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from libs.testing.front_ends.cases import CHAT, COMPLETIONS, MODEL, USER, Body, Case, post

_GOOD: Final = {"model": MODEL, "messages": [USER], "max_tokens": 4}


def path_cases() -> Iterator[Case]:
    """Return requests to other paths, and other methods."""
    for path in (CHAT, COMPLETIONS, "/v1/models", "/tokenize", "/health", "/nothing", "/"):
        for method in ("GET", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH"):
            yield Case(name=f"{method} {path}", path=path, method=method, headers={})
    for path in ("/v1/models/m", "/v1/models/unknown", "/version", "/ping", "/load", "/metrics"):
        yield Case(name=f"GET {path}", path=path, method="GET", headers={})
    for path in (f"{CHAT}/", "/v1//chat/completions", f"{CHAT}?x=1", "/V1/chat/completions"):
        yield post(f"path {path}", path, _GOOD)
    for path in ("/v1/models/", "/v1/models?x=1"):
        yield Case(name=f"GET {path}", path=path, method="GET", headers={})
    for name, path, body in OTHERS:
        yield post(f"{path} {name}", path, {"model": MODEL, **body})


OTHERS: Final[tuple[tuple[str, str, Body], ...]] = (
    ("a text", "/tokenize", {"prompt": "Hello there 🦊"}),
    ("an empty text", "/tokenize", {"prompt": ""}),
    ("special tokens", "/tokenize", {"prompt": "<|im_start|>x"}),
    ("no special tokens", "/tokenize", {"prompt": "Hello", "add_special_tokens": False}),
    ("token strings", "/tokenize", {"prompt": "Hello 🦊", "return_token_strs": True}),
    ("a chat", "/tokenize", {"messages": [USER]}),
    (
        "a chat without generation prompt",
        "/tokenize",
        {"messages": [USER], "add_generation_prompt": False},
    ),
    (
        "a chat with tools",
        "/tokenize",
        {"messages": [USER], "tools": [{"type": "function", "function": {"name": "x"}}]},
    ),
    ("nothing", "/tokenize", {}),
    ("a number", "/tokenize", {"prompt": 5}),
    ("an unknown model", "/tokenize", {"prompt": "Hello", "model": "unknown"}),
    ("the alias", "/tokenize", {"prompt": "Hello", "model": "alias"}),
    ("tokens", "/detokenize", {"tokens": [300, 301, 302]}),
    ("no tokens", "/detokenize", {"tokens": []}),
    ("a special token", "/detokenize", {"tokens": [1, 300, 2]}),
    ("half a character", "/detokenize", {"tokens": [172]}),
    ("a token out of range", "/detokenize", {"tokens": [99_999]}),
    ("a negative token", "/detokenize", {"tokens": [-1]}),
    ("nothing", "/detokenize", {}),
    ("a text", "/v1/responses", {"input": "Hello", "max_output_tokens": 4}),
    (
        "a text, streamed",
        "/v1/responses",
        {"input": "Hello", "max_output_tokens": 4, "stream": True},
    ),
    ("a message", "/v1/messages", {"messages": [USER], "max_tokens": 4}),
    ("a message", "/v1/messages/count_tokens", {"messages": [USER]}),
    ("a text", "/v1/embeddings", {"input": "Hello"}),
    ("two texts", "/v1/score", {"text_1": "a", "text_2": "b"}),
    ("documents", "/v1/rerank", {"query": "a", "documents": ["b"]}),
    ("documents", "/rerank", {"query": "a", "documents": ["b"]}),
    ("two texts", "/score", {"text_1": "a", "text_2": "b"}),
    ("a text", "/classify", {"input": "Hello"}),
    ("a text", "/v1/classify", {"input": "Hello"}),
    ("a text", "/pooling", {"input": "Hello"}),
    ("nothing", "/v1/audio/transcriptions", {}),
    ("nothing", "/v1/audio/translations", {}),
    ("a chat", "/v1/chat/completions/render", {"messages": [USER]}),
    ("a text", "/v1/completions/render", {"prompt": "Hello"}),
    ("a batch", "/v1/chat/completions/batch", {"messages": [[USER], [USER]], "max_tokens": 3}),
    (
        "tokens",
        "/inference/v1/generate",
        {"token_ids": [300], "sampling_params": {"max_tokens": 3}},
    ),
)
