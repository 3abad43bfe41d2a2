"""A model that cannot start, beside a healthy one: a damaged file, which is repaired later.

A source that does not exist is tested in tests/e2e/replica.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import httpx
import yaml

from libs.testing.chain_model import write_chain_model
from libs.testing.local_stack import FailureJson, LocalStack, wait_until

GIVEN_UP_WITHIN_S = 240.0
TRIED_AGAIN_WITHIN_S = 120.0
AT_ONCE_S = 10.0
"""Much less than requests are held for; a busy machine may take some seconds."""

DAMAGED: dict[str, object] = {
    "name": "damaged",
    "device": "cpu",
    "engine": {"max_model_len": 256, "max_num_seqs": 4},
    "scaling": {"min": 1, "max": 1},
}


def test_a_model_that_cannot_start_is_told_refused_and_tried_again(
    stack: LocalStack, models_file: Path, tmp_path: Path
) -> None:
    """The healthy one answers all the time; a repaired file is found without anybody's help."""
    declared = yaml.safe_load(models_file.read_text())["models"]
    weights = write_chain_model(tmp_path / "chain") / "model.safetensors"
    size = weights.stat().st_size
    whole = weights.read_bytes()
    os.truncate(weights, size // 2)
    apply(stack, [*declared, DAMAGED | {"source": str(weights.parent)}])

    wait_until(
        lambda: refused(stack, "damaged"), timeout_s=GIVEN_UP_WITHIN_S, what="a model that fails"
    )
    damaged = failure(stack, "damaged")
    began = time.monotonic()
    answers = {name: ask(stack, name) for name in ("damaged", "smollm2")}
    took_s = time.monotonic() - began
    weights.write_bytes(whole)
    wait_until(
        lambda: ask(stack, "damaged").is_success,
        timeout_s=TRIED_AGAIN_WITHIN_S,
        what="the repaired model",
    )

    assert damaged is not None
    assert "SafetensorError" in damaged["error"]
    assert [answers[name].status_code for name in answers] == [503, 200]
    refusal = answers["damaged"]
    assert refusal.json()["error"]["code"] == "model_failing"
    assert damaged["error"] in refusal.json()["error"]["message"]
    assert int(refusal.headers["retry-after"]) > 0
    assert took_s < AT_ONCE_S
    wait_until(lambda: failure(stack, "damaged") is None, timeout_s=20, what="nothing wrong")
    apply(stack, declared)


def apply(stack: LocalStack, models: list[dict[str, object]]) -> None:
    """Declare these models and no others."""
    file = stack.var / "failing.yaml"
    file.write_text(yaml.safe_dump({"models": models}))
    done = stack.sluice("apply", str(file))
    assert done.code == 0, done.err


def ask(stack: LocalStack, model: str) -> httpx.Response:
    """Send one request."""
    body = {"model": model, "prompt": "Hello", "max_tokens": 1}
    return httpx.post(f"{stack.api_url}/v1/completions", json=body, timeout=60)


def failure(stack: LocalStack, model: str) -> FailureJson | None:
    """Return what `status` says of a model that does not come."""
    return next(each["failure"] for each in stack.status()["models"] if each["name"] == model)


def refused(stack: LocalStack, model: str) -> bool:
    """Tell whether a model's requests are refused."""
    found = failure(stack, model)
    return found is not None and found["refused"]
