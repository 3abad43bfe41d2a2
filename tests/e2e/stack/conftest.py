"""One stack for all end-to-end tests: starting it takes most of their time."""

from collections.abc import Iterator

import pytest

from libs.testing.local_stack import LocalStack, local_stack


@pytest.fixture(scope="session")
def stack() -> Iterator[LocalStack]:
    """Return a running stack with the default model."""
    with local_stack() as running:
        yield running
