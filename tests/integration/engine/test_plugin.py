"""The plugin folder on PYTHONPATH is all that vLLM needs to find the platform and the watch."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).absolute().parents[3]
PLUGIN = ROOT / "libs" / "engine" / "plugin"

PLATFORM = """
from vllm.platforms import current_platform
print(type(current_platform).__name__, current_platform.ray_device_key or "none")
"""
ENTRY_POINTS = """
from importlib.metadata import entry_points
for group in ("vllm.platform_plugins", "vllm.general_plugins"):
    found = [point for point in entry_points(group=group) if point.name.startswith("sluice")]
    print(*(point.load().__name__ for point in found))
"""
PARENT = """
import multiprocessing, sys, time
def child():
    from sluice_vllm_plugin.orphans import watch_parent
    watch_parent()
    watch_parent()
    print(multiprocessing.current_process().pid, flush=True)
    time.sleep(60)
if __name__ == "__main__":
    multiprocessing.get_context("spawn").Process(target=child, daemon=True).start()
    time.sleep(60)
"""


def with_plugin() -> str:
    """Return this test's import path, the plugin's folder first."""
    return os.pathsep.join([str(PLUGIN), *(folder for folder in sys.path if folder)])


def run(code: str, **environment: str) -> str:
    """Run code with the plugin on the path, and return its last line."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": with_plugin(), **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout


@pytest.mark.parametrize(
    ("switch", "platform"), [("", "RayCpuPlatform GPU"), ("off", "CpuPlatform none")]
)
def test_the_cpu_build_gets_a_platform_that_ray_can_place(switch: str, platform: str) -> None:
    """A node's logical GPU slots are its workers' places; a variable turns it off."""
    assert run(PLATFORM, SLUICE_VLLM_PLATFORM=switch).splitlines()[-1] == platform


def test_every_entry_point_is_found_by_its_folder_alone() -> None:
    """Nothing is installed."""
    assert run(ENTRY_POINTS).split() == [
        "platform",
        "watch_parent",
        "report_engine",
        "use_engine_folder",
        "keep_start_error",
        "salt_by_tenant",
    ]


def test_a_child_ends_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    """An engine core without its replica holds no memory."""
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    parent = subprocess.Popen(
        [sys.executable, str(script)],
        env={**os.environ, "PYTHONPATH": with_plugin()},
        stdout=subprocess.PIPE,
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())

    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()

    deadline = time.monotonic() + 5
    while is_running(child) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not is_running(child)


def is_running(pid: int) -> bool:
    """Tell whether a process lives; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
