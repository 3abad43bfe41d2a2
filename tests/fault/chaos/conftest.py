"""One stack for every seed."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.bench.chaos.world import World, chaos_world


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    """Return a running stack with two replicas, TLS and a tenant."""
    models = os.environ.get("SLUICE_MODELS_DIR")
    with chaos_world(2, models=Path(models) if models else None, say=print) as running:
        yield running
