"""`down` finds the HAProxy that router-config starts, and nothing that only looks like it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from libs.haproxy.binary import find_haproxy
from libs.haproxy.client import HaproxyClient
from libs.testing.free_port import free_port
from libs.testing.real_haproxy import short_folder
from services.router_config.adapters.haproxy.files import StateFiles
from services.router_config.adapters.haproxy.program import HaproxyProgram
from services.router_config.settings import RouterConfigSettings
from services.router_config.wiring import edge_config, launch_of
from tools.cli.stack.layout import Layout, layout
from tools.cli.stack.processes import end_all, of_folder, of_stack
from tools.cli.stack.programs import ROUTER_CONFIG, programs
from tools.cli.stack.record import StackRecord


def settings_of(places: Layout, record: StackRecord) -> RouterConfigSettings:
    """Return router-config's settings as a stack gives them to it."""
    made = programs(places, record, nats_server="/nats", environment={}, cuda=False)
    environment = next(each.environment for each in made if each.name == ROUTER_CONFIG)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        return RouterConfigSettings()


async def start(settings: RouterConfigSettings) -> int:
    """Start HAProxy as router-config does, and leave it alone."""
    StateFiles(settings.state_dir, pools_per_kind=1).prepare(edge_config(settings))
    client = HaproxyClient(settings.admin_socket, timeout_s=settings.command_timeout_s)
    program = HaproxyProgram(launch_of(settings, find_haproxy(None).path), client)
    pid = await program.start()
    program.close()
    return pid


def test_a_haproxy_without_router_config_is_found_and_ended() -> None:
    """It carries the stack's marks; a program with its files open does not."""
    with short_folder() as folder:
        found = layout(root=folder, var=folder / "v", models=None, user_id=1)
        places = replace(found, run=folder / "r")
        places.run.mkdir()
        record = _record(folder)
        settings = settings_of(places, record)

        with editing(places.haproxy / "base.cfg") as editor:
            pid = asyncio.run(start(settings))
            seen = [each.pid for each in of_stack(record.stack_id)]
            by_folder = [each.pid for each in of_folder(places.var)]
            killed = end_all(record.stack_id, grace_s=10.0)
            editor_lives = editor.poll() is None
            editor.terminate()

    assert seen == by_folder == [pid]
    assert killed == []
    assert of_stack(record.stack_id) == []
    assert editor_lives


def editing(file: Path) -> subprocess.Popen[bytes]:
    """Run a program with a file of the stack in its command line."""
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", str(file)])


def _record(folder: Path) -> StackRecord:
    return StackRecord(
        stack_id=folder.name,
        started_at=0.0,
        api_host="127.0.0.1",
        api_port=free_port(),
        stats_port=free_port(),
        nats_port=2,
        ray_port=3,
        ray_agent_port=4,
        dashboard_port=5,
    )
