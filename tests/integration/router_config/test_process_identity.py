"""Only HAProxy itself is HAProxy: by pid, start time and exact command."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import replace
from pathlib import Path

from services.router_config.adapters.haproxy.identity import (
    identify,
    read_identity,
    still_runs,
    with_command,
    write_identity,
)

SLEEP = ("-c", "import time; time.sleep(60)")


async def test_a_process_is_itself_for_as_long_as_it_runs(tmp_path: Path) -> None:
    """Written down and read back, and never another one that has its pid later."""
    running = await asyncio.create_subprocess_exec(sys.executable, *SLEEP)
    found = identify(running.pid)
    assert found is not None
    write_identity(tmp_path / "p.json", found)

    before = still_runs(found)
    later = still_runs(replace(found, started_ticks=found.started_ticks + 1))
    other = still_runs(replace(found, command=("vi", "base.cfg")))
    running.kill()
    await running.wait()

    assert (before, later, other) == (True, False, False)
    assert not still_runs(found)
    assert read_identity(tmp_path / "p.json") == found


async def test_a_command_is_found_by_all_its_arguments_in_their_order(tmp_path: Path) -> None:
    """An editor of the same files has other ones."""
    wanted = [*SLEEP, "-C", str(tmp_path), "-f", "base.cfg"]
    ours = await asyncio.create_subprocess_exec(sys.executable, *wanted, "-sf", "1")
    editor = await asyncio.create_subprocess_exec(
        sys.executable, *SLEEP, str(tmp_path / "base.cfg"), *wanted[2:]
    )
    try:
        found = [each.pid for each in with_command(wanted)]
    finally:
        for each in (ours, editor):
            each.kill()
            await each.wait()

    assert found == [ours.pid]


def test_notes_that_nobody_can_read_are_none(tmp_path: Path) -> None:
    """As after a crash on a full disk."""
    (tmp_path / "p.json").write_bytes(b'{"pid": 1')

    assert read_identity(tmp_path / "p.json") is None
    assert read_identity(tmp_path / "none.json") is None
    assert identify(2**22 + 1) is None
    assert identify(os.getpid()) is not None
