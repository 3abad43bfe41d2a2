"""Which paths a replica answers."""

from __future__ import annotations

import pytest

from services.replica.adapters.http.paths import PathKind, kind_of


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/v1/chat/completions", PathKind.INFERENCE),
        ("/v1/completions", PathKind.INFERENCE),
        ("/v1/embeddings", PathKind.INFERENCE),
        ("/v1/responses", PathKind.INFERENCE),
        ("/v1/responses/resp_1/cancel", PathKind.INFERENCE),
        ("/tokenize", PathKind.INFERENCE),
        ("/detokenize", PathKind.INFERENCE),
        ("/health", PathKind.HEALTH),
        ("/v1/models", PathKind.INFO),
        ("/metrics", PathKind.INFO),
        ("/v1/load_lora_adapter", PathKind.CLOSED),
        ("/v1/unload_lora_adapter", PathKind.CLOSED),
        ("/scale_elastic_ep", PathKind.CLOSED),
        ("/start_profile", PathKind.CLOSED),
        ("/invocations", PathKind.CLOSED),
        ("/inference/v1/generate", PathKind.CLOSED),
        ("/docs", PathKind.CLOSED),
        ("/V1/completions", PathKind.CLOSED),
        ("//v1/completions", PathKind.CLOSED),
        ("/v1/completions/", PathKind.CLOSED),
        ("/", PathKind.CLOSED),
    ],
)
def test_only_listed_paths_are_open(path: str, kind: PathKind) -> None:
    """What is not on the list is closed, vLLM's newest path included."""
    assert kind_of(path) is kind
