"""What `down` removes of a stack whose processes were killed."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from libs.testing.real_haproxy import short_folder
from tools.cli.stack.down import down
from tools.cli.stack.layout import layout
from tools.cli.stack.record import StackRecord, save

RECORD = StackRecord(
    stack_id="no-process-has-this-mark",
    started_at=0.0,
    api_host="127.0.0.1",
    api_port=8080,
    stats_port=1,
    nats_port=2,
    ray_port=3,
    ray_agent_port=5,
    dashboard_port=6,
    metrics_port=7,
)


def test_the_files_of_killed_replicas_go_with_the_stack() -> None:
    """Their shared memory, too, which is in no folder of the stack."""
    segment = Path("/dev/shm") / f"sluice_test_{os.getpid()}"
    with short_folder() as folder:
        found = layout(root=folder, var=folder / "v", models=None, user_id=1)
        stack = replace(found, run=folder / "r")
        stack.run.mkdir(mode=0o700)
        left = stack.replica_sockets / "sluice-0000000a"
        left.mkdir(parents=True)
        segment.touch()
        (left / f"{segment.name}.{segment.stat().st_ino}.shm").touch()
        save(RECORD, stack.record)

        stopped = down(stack, lambda _: None)

        assert stopped.was_running
        assert not stack.run.exists()
    assert not segment.exists()
