"""One stack with two replicas of the default model for all fault tests."""

from collections.abc import Iterator

import pytest

from libs.testing.local_stack import LocalStack, local_stack, wait_until

LOAD_TIMEOUT_S = 240.0
"""How long a second engine may take to load beside a first one on two cores."""


@pytest.fixture(scope="session")
def stack() -> Iterator[LocalStack]:
    """Return a running stack whose model is held at two replicas."""
    with local_stack() as running:
        done = running.sluice("scale", "smollm2", "2")
        assert done.code == 0, done.err
        wait_until(lambda: len(running.ready()) == 2, timeout_s=LOAD_TIMEOUT_S, what="two replicas")
        yield running
