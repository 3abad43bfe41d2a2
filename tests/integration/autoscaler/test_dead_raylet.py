"""A node that has lost its raylet ends, so that its supervisor can start another."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from libs.testing.local_stack import wait_until
from libs.testing.ray_node import RayNode, marked, ray_node

AGENT = "ray::DashboardAgent"
WITHIN_S = 60.0


@pytest.mark.parametrize("killed", [AGENT, "raylet"])
def test_a_node_ends_with_its_raylet(killed: str) -> None:
    """A killed agent has the raylet end in order, which Ray's own program takes for `ray stop`."""
    with ray_node() as node:
        wait_until(lambda: AGENT in parts(node), timeout_s=WITHIN_S, what="an agent")

        os.kill(parts(node)[killed], signal.SIGKILL)
        code = node.ended(WITHIN_S)
        left = parts(node)

    assert code != 0
    assert left == {}


def parts(node: RayNode) -> dict[str, int]:
    """Return the process ids of the node's raylet and of what it has started, by program."""
    own = {program_of(pid): pid for pid in marked(node.mark)}
    if "raylet" not in own:
        return {}
    found = {"raylet": own["raylet"]}
    for children in Path(f"/proc/{own['raylet']}/task").glob("*/children"):
        with suppress(OSError):
            found |= {program_of(pid): pid for pid in map(int, children.read_text().split())}
    return found


def program_of(pid: int) -> str:
    """Return a process's title, or the file name of its program; empty when it is gone."""
    with suppress(OSError):
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode().strip()
        return command if command.startswith("ray::") else Path(command).name
    return ""
