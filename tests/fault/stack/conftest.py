"""One stack with two replicas of a device that only takes time, for all fault tests."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from libs.testing.held_files import files_of, left
from libs.testing.local_stack import LocalStack, local_stack
from libs.testing.ray_node import marked
from libs.testing.stack_inside import StackInside

MODELS = """
models:
  - name: simulated
    device: simulated
    engine: {max_model_len: 2048, max_num_seqs: 16}
    scaling: {min: 2, max: 3}
    simulation: {step_time_s: 0.05}
"""
"""Steps slow enough that one stream can last longer than a minute."""


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """Return a running stack with two ready replicas, of which no file is left at the end."""
    models: Path = tmp_path_factory.mktemp("models") / "models.yaml"
    models.write_text(MODELS)
    with local_stack("--models", str(models)) as running:
        shutil.copy(models, running.var / "models.yaml")
        mark = f"SLUICE_STACK_ID={running.stack_id}"
        with files_of(lambda: marked(mark)) as files:
            yield running
    assert files
    assert left(files) == []
    assert marked(mark) == set()


@pytest.fixture(scope="session")
def inside(stack: LocalStack) -> StackInside:
    """Return the way into it that a recovery can be timed by."""
    return StackInside(stack=stack, stack_id=stack.stack_id)
