"""A process whose event loop stands still ends."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).absolute().parents[3]

PROGRAM = """
import asyncio, sys, time
from services.replica.adapters.loop_guard import guarded_loop

async def main(blocked_s):
    async with guarded_loop(limit_s=0.3):
        await asyncio.sleep(1)
        print("idle is alive", flush=True)
        time.sleep(blocked_s)
        await asyncio.sleep(0.5)
    time.sleep(1)
    print("over", flush=True)

asyncio.run(main(float(sys.argv[1])))
"""


def run(blocked_s: float) -> subprocess.CompletedProcess[str]:
    """Run a loop that is blocked once for so long."""
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, str(blocked_s)],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        env={"PYTHONPATH": ":".join([str(ROOT), *sys.path])},
    )


def test_a_loop_that_is_blocked_beyond_the_limit_ends_its_process() -> None:
    """It says where it was."""
    ended = run(30)

    assert ended.returncode == -signal.SIGKILL
    assert "idle is alive" in ended.stdout
    assert "event_loop_blocked" in ended.stdout
    assert "in main" in ended.stderr


def test_a_loop_that_is_late_goes_on_and_is_not_watched_after_the_body() -> None:
    """A stream's chunk that takes long is no reason to cut all others."""
    ended = run(0.05)

    assert ended.returncode == 0, ended.stderr
    assert "over" in ended.stdout
