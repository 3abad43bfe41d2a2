"""The requests that go to both front ends: what a case is, and the list of all."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

MODEL: Final = "m"
ALIAS: Final = "alias"
"""The names that the engine under test serves."""

CHAT: Final = "/v1/chat/completions"
COMPLETIONS: Final = "/v1/completions"
JSON_TYPE: Final = "application/json"
USER: Final = {"role": "user", "content": "What is the capital of France?"}
PROMPT: Final = "Hello there"

Body = Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One request; `body` is sent as it is."""

    name: str
    path: str
    body: bytes = b""
    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=lambda: {"content-type": JSON_TYPE})


def chat(name: str, **fields: object) -> Iterator[Case]:
    """Ask a chat with these fields over the usual ones, whole and as a stream."""
    yield from _both(f"chat {name}", CHAT, {"model": MODEL, "messages": [USER], **fields})


def completion(name: str, **fields: object) -> Iterator[Case]:
    """Ask a completion with these fields over the usual ones, whole and as a stream."""
    yield from _both(
        f"completion {name}", COMPLETIONS, {"model": MODEL, "prompt": PROMPT, **fields}
    )


def each(name: str, **fields: object) -> Iterator[Case]:
    """Ask both kinds."""
    yield from chat(name, **fields)
    yield from completion(name, **fields)


def post(name: str, path: str, body: Body) -> Case:
    """Post a JSON object to a path."""
    return Case(name=name, path=path, body=json.dumps(body).encode())


def _both(name: str, path: str, body: Body) -> Iterator[Case]:
    if "stream" in body:
        yield post(name, path, body)
        return
    if "stream_options" not in body:
        yield post(name, path, body)
    streamed = {"stream_options": {"include_usage": True}, **body, "stream": True}
    yield post(f"{name}, streamed", path, streamed)
