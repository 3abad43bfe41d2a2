"""A supervisord that has stopped answering holds nobody up."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from libs.testing.real_haproxy import short_folder
from tools.cli.stack.supervisor import Supervisor


@pytest.fixture
def silent() -> Iterator[Path]:
    """Give the path of a socket on which connections are taken and never answered."""
    with short_folder() as folder, socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / "supervisor.sock"))
        listening.listen()
        yield folder / "supervisor.sock"


def test_it_does_not_count_as_alive(silent: Path) -> None:
    """So `down` goes on to end every process by itself."""
    alive = Supervisor(silent, answer_s=0.2).alive()

    assert not alive
    assert socket.getdefaulttimeout() is None
