"""A model without replicas is started by whoever asks for it first."""

from __future__ import annotations

from pathlib import Path

import httpx
import yaml

from libs.testing.local_stack import LocalStack, ModelJson, wait_until

SLEEPER: dict[str, object] = {
    "name": "sleeper",
    "source": "builtin:smollm2-135m-instruct",
    "device": "simulated",
    "engine": {"max_model_len": 2048},
    "scaling": {"min": 0, "max": 1},
}


def test_a_model_at_zero_answers_its_first_request(stack: LocalStack, models_file: Path) -> None:
    """Applied while the stack is up, held while its replica starts, served by it."""
    declared = yaml.safe_load(models_file.read_text())["models"]
    apply(stack, [*declared, SLEEPER])
    wait_until(lambda: sleeper(stack)["target"] == 0, timeout_s=60, what="a decision")
    asleep = sleeper(stack)

    body = {"model": "sleeper", "prompt": "Hello", "max_tokens": 4}
    reply = httpx.post(f"{stack.api_url}/v1/completions", json=body, timeout=150)

    assert (asleep["ready"], asleep["held"], asleep["replicas"]) == (0, 0, [])
    assert reply.status_code == 200, reply.text
    assert reply.json()["usage"]["completion_tokens"] == 4
    awake = sleeper(stack)
    assert (awake["target"], awake["ready"], awake["held"]) == (1, 1, 0)
    apply(stack, declared)


def apply(stack: LocalStack, models: list[dict[str, object]]) -> None:
    """Declare these models and no others."""
    file = stack.var / "zero.yaml"
    file.write_text(yaml.safe_dump({"models": models}))
    done = stack.sluice("apply", str(file))
    assert done.code == 0, done.err


def sleeper(stack: LocalStack) -> ModelJson:
    """Return the model's status."""
    return next(each for each in stack.status()["models"] if each["name"] == "sleeper")
