"""`sluice logs` finds what every process wrote, the replicas' files among them."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from libs.testing.real_haproxy import short_folder
from tools.cli.logs import NoLogError, files_for, keep_replica_logs, services
from tools.cli.stack.layout import Layout, layout


@pytest.fixture
def stack() -> Iterator[Layout]:
    """Return a layout with the log of one service and of one replica."""
    with short_folder() as folder:
        found = layout(root=folder, var=folder / "v", models=None, user_id=1)
        yield _with_logs(replace(found, run=folder / "r"))


def _with_logs(found: Layout) -> Layout:
    live = found.ray_temp / "session_latest" / "logs"
    for folder in (found.logs, live):
        folder.mkdir(parents=True)
    (found.logs / "nats.log").write_text("started\n")
    (live / "worker-a.out").write_text("ready\n")
    (live / "worker-b.out").touch()
    return found


def test_services_and_replicas_are_listed(stack: Layout) -> None:
    """All replicas stand under one name."""
    assert services(stack) == ["nats", "replica"]


def test_empty_files_are_left_out(stack: Layout) -> None:
    """Ray makes two files for each of its idle workers."""
    (found,) = files_for(stack, "replica")

    assert found.name == "worker-a.out"


def test_replica_logs_survive_the_stack(stack: Layout) -> None:
    """Why a replica failed must be readable after `down`."""
    keep_replica_logs(stack)
    (stack.ray_temp / "session_latest" / "logs" / "worker-a.out").unlink()

    (found,) = files_for(stack, "replica")

    assert found.read_text() == "ready\n"


def test_an_unknown_service_is_answered_with_the_known_ones(stack: Layout) -> None:
    """The user learns the names."""
    with pytest.raises(NoLogError, match="there is: nats, replica"):
        files_for(stack, "nuts")
