"""One stack for all end-to-end tests: starting it takes most of their time."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from libs.testing.local_stack import ROOT, LocalStack, local_stack

DEFAULT = ROOT / "deploy" / "local" / "models.yaml"


@pytest.fixture(scope="session")
def models_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the default models file, whose engine takes adapters too."""
    document = yaml.safe_load(DEFAULT.read_text())
    document["models"][0]["adapters"] = []
    file: Path = tmp_path_factory.mktemp("models") / "models.yaml"
    file.write_text(yaml.safe_dump(document))
    return file


@pytest.fixture(scope="session")
def stack(models_file: Path) -> Iterator[LocalStack]:
    """Return a running stack with the default model."""
    with local_stack("--models", str(models_file)) as running:
        yield running
