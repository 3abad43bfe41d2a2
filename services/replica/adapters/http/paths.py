"""Which paths a replica answers: an allow list, so that a new path of vLLM's is closed at first.

vLLM's application also has administrative paths (adapters loaded at run time, scaling of experts,
profiling, hosting conventions of clouds). None of them is reachable here.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final


class PathKind(Enum):
    """What a path is for."""

    HEALTH = auto()
    INFO = auto()
    INFERENCE = auto()
    CLOSED = auto()


HEALTH_PATHS: Final = frozenset({"/health", "/ping"})

INFO_PATHS: Final = frozenset({"/v1/models", "/version", "/metrics"})

OPERATIONS: Final = {
    "/v1/chat/completions": "chat",
    "/v1/completions": "text_completion",
    "/v1/responses": "chat",
    "/v1/messages": "chat",
    "/v1/messages/count_tokens": "count_tokens",
    "/v1/embeddings": "embeddings",
    "/v1/score": "score",
    "/v1/rerank": "rerank",
    "/v1/classify": "classify",
    "/classify": "classify",
    "/pooling": "pooling",
    "/rerank": "rerank",
    "/score": "score",
    "/v1/audio/transcriptions": "transcription",
    "/v1/audio/translations": "translation",
    "/tokenize": "tokenize",
    "/detokenize": "detokenize",
}
"""Inference paths and `gen_ai.operation.name` of each.

Source: OpenTelemetry GenAI conventions for chat, text_completion and embeddings; the rest are ours.
"""

RESPONSES_PREFIX: Final = "/v1/responses/"
MODELS_PREFIX: Final = "/v1/models/"


def kind_of(path: str) -> PathKind:
    """Sort a path."""
    if path in OPERATIONS or path.startswith(RESPONSES_PREFIX):
        return PathKind.INFERENCE
    if path in HEALTH_PATHS:
        return PathKind.HEALTH
    if path in INFO_PATHS or path.startswith(MODELS_PREFIX):
        return PathKind.INFO
    return PathKind.CLOSED


def operation_of(path: str) -> str:
    """Return the operation's name of an inference path."""
    return OPERATIONS.get(path, "chat")
