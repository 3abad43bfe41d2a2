"""LoRA adapters on a device that reads no weights: vLLM's own handling of them is real."""

from __future__ import annotations

from pathlib import Path

from libs.testing.lora_adapter import write_adapter_config
from libs.testing.simulated_server import SimulatedServer
from libs.testing.tiny_model import words

PROMPT = words(20, first=40)


def test_an_adapter_speaks_otherwise_than_its_model(
    server: SimulatedServer, tmp_path: Path
) -> None:
    """A test sees which weights answered, and the model says what it said before."""
    before = server.complete(PROMPT, max_tokens=12).text

    assert server.load_adapter("sql", write_adapter_config(tmp_path / "sql"))
    spoken = server.complete(PROMPT, max_tokens=12, model="sql").text

    assert spoken != before
    assert server.complete(PROMPT, max_tokens=12, model="sql").text == spoken
    assert server.complete(PROMPT, max_tokens=12).text == before


def test_an_adapter_that_is_not_there_is_refused_and_the_engine_goes_on(
    server: SimulatedServer, tmp_path: Path
) -> None:
    """A worker's error is the loader's, and nobody else's."""
    assert not server.load_adapter("lost", tmp_path / "lost")

    assert server.complete(PROMPT, max_tokens=3).output_tokens == 3
