"""LoRA adapters come, change and go on the running stack, and nobody else notices."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
import yaml

from libs.engine.default_model import default_model_path
from libs.testing.local_stack import AdapterJson, Done, LocalStack, wait_until
from libs.testing.lora_adapter import write_adapter

PROMPT = "The capital of France is"
STREAM_TOKENS = 60


@dataclass(slots=True)
class Statuses:
    """What requests were answered with while something changed, by the name they asked for."""

    seen: dict[str, list[int]] = field(default_factory=dict)


@pytest.fixture
def an_adapter(stack: LocalStack) -> Callable[[str, int], Path]:
    """Offer adapters of random weights for the stack's model."""
    models = Path(os.environ.get("SLUICE_MODELS_DIR", stack.var / "models"))

    def make(name: str, seed: int) -> Path:
        return write_adapter(stack.var / name, model=default_model_path(models), seed=seed)

    return make


@pytest.fixture
def apply(stack: LocalStack, models_file: Path) -> Callable[..., Done]:
    """Offer `apply` of the stack's model with adapters, each a name and a directory."""

    def declare(**adapters: Path) -> Done:
        document = yaml.safe_load(models_file.read_text())
        document["models"][0]["adapters"] = [
            {"name": name, "source": str(folder)} for name, folder in adapters.items()
        ]
        file = stack.var / "adapters.yaml"
        file.write_text(yaml.safe_dump(document))
        return stack.sluice("apply", str(file))

    return declare


def ask(stack: LocalStack, model: str) -> httpx.Response:
    """Complete the prompt with a few greedy tokens."""
    body = {"model": model, "prompt": PROMPT, "max_tokens": 8, "temperature": 0}
    return httpx.post(f"{stack.api_url}/v1/completions", json=body, timeout=60)


def text(stack: LocalStack, model: str) -> str | None:
    """Return the answer; None when the name is not found."""
    reply = ask(stack, model)
    if reply.status_code == httpx.codes.NOT_FOUND:
        return None
    assert reply.is_success, reply.text
    return str(reply.json()["choices"][0]["text"])


def adapter(stack: LocalStack) -> AdapterJson:
    """Return the only adapter's status."""
    (found,) = stack.status()["models"][0]["adapters"]
    return found


@contextmanager
def asking(stack: LocalStack, *models: str) -> Iterator[Statuses]:
    """Ask for each name, one request after the other, while the body runs."""
    statuses, over = Statuses(), threading.Event()

    def go_on(model: str) -> None:
        while not over.is_set():
            statuses.seen.setdefault(model, []).append(ask(stack, model).status_code)

    threads = [threading.Thread(target=go_on, args=(model,)) for model in models]
    for thread in threads:
        thread.start()
    try:
        yield statuses
    finally:
        over.set()
        for thread in threads:
            thread.join()


def stream(stack: LocalStack, model: str, begun: threading.Event) -> list[str]:
    """Stream a completion of a known length; return its lines of data."""
    body = {
        "model": model,
        "prompt": PROMPT,
        "max_tokens": STREAM_TOKENS,
        "ignore_eos": True,
        "stream": True,
    }
    lines: list[str] = []
    url = f"{stack.api_url}/v1/completions"
    with httpx.stream("POST", url, json=body, timeout=120) as reply:
        for line in reply.iter_lines():
            if line.startswith("data: "):
                lines.append(line.removeprefix("data: "))
                begun.set()
    return lines


def test_an_adapter_comes_changes_and_goes_while_its_model_serves(
    stack: LocalStack, apply: Callable[..., Done], an_adapter: Callable[[str, int], Path]
) -> None:
    """Every answer comes from the right weights; nothing restarts, reloads or fails."""
    proxy, replicas = stack.status()["haproxy"], [each["id"] for each in stack.ready()]
    own = text(stack, "smollm2")

    with asking(stack, "smollm2") as others:
        said = apply(sql=an_adapter("sql-1", 1)).out
        wait_until(lambda: text(stack, "sql") is not None, timeout_s=60, what="the adapter")
        first = text(stack, "sql")
        listed = httpx.get(f"{stack.api_url}/v1/models", timeout=60).json()["data"]
        loaded, held = adapter(stack)["loaded"], stack.ready()[0]["adapters"]
        with asking(stack, "sql") as through_the_change:
            apply(sql=an_adapter("sql-2", 2))
            wait_until(lambda: text(stack, "sql") != first, timeout_s=60, what="other weights")
        second = text(stack, "sql")
        lines, begun = [], threading.Event()
        last = threading.Thread(target=lambda: lines.extend(stream(stack, "sql", begun)))
        last.start()
        assert begun.wait(60)
        apply()
        wait_until(lambda: text(stack, "sql") is None, timeout_s=60, what="its end")
        last.join()

    assert "adapters: [] -> [sql=" in said
    assert "restart" not in said
    assert len({own, first, second}) == 3
    assert {(each["root"], each["parent"]) for each in listed if each["id"] == "sql"} == {
        ("sql", "smollm2")
    }
    assert (loaded, held) == (1, ["sql"])
    assert set(through_the_change.seen["sql"]) == {200}
    assert lines[-1] == "[DONE]"
    assert sum(len(json.loads(line)["choices"]) for line in lines[:-1]) == STREAM_TOKENS
    assert ask(stack, "sql").json()["error"]["code"] == "model_not_found"
    assert set(others.seen["smollm2"]) == {200}
    assert text(stack, "smollm2") == own
    assert [each["id"] for each in stack.ready()] == replicas
    assert stack.status()["haproxy"] == proxy


def test_an_adapter_that_the_engine_refuses_is_explained_and_ends_nothing(
    stack: LocalStack, apply: Callable[..., Done], an_adapter: Callable[[str, int], Path]
) -> None:
    """The replica stays ready and the name unknown, until the declaration is corrected."""
    replicas = [each["id"] for each in stack.ready()]
    broken = an_adapter("broken", 3)
    (broken / "adapter_model.safetensors").write_bytes(b"no tensors")

    apply(sql=broken)
    wait_until(lambda: bool(adapter(stack)["causes"]), timeout_s=60, what="the cause")
    refused, status = ask(stack, "sql").status_code, adapter(stack)
    apply(sql=an_adapter("sql-1", 1))
    wait_until(lambda: text(stack, "sql") is not None, timeout_s=60, what="the adapter")
    apply()

    assert refused == httpx.codes.NOT_FOUND
    assert status["loaded"] == 0
    assert "The engine refused it" in status["causes"][0]
    assert [each["id"] for each in stack.ready()] == replicas


def test_an_adapter_without_a_directory_is_refused_before_anything_is_written(
    stack: LocalStack, apply: Callable[..., Done]
) -> None:
    """One line, exit code 2."""
    done = apply(lost=Path("/no/such/adapter"))

    assert done.code == 2
    assert done.err.strip().endswith("adapter lost: the directory /no/such/adapter does not exist")
    assert stack.status()["models"][0]["adapters"] == []
