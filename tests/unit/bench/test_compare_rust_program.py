"""How the stack vllm-rust finds vLLM's program, and what it starts."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from libs.engine.rust_front_end import Missing
from libs.errors import UsageError
from tools.bench.compare.stacks import rust_program
from tools.bench.compare.stacks.rust_program import require_program, switches, write_starter

LAUNCHER = """
import subprocess, sys
print(subprocess.Popen([sys.argv[1], "60"]).pid, flush=True)
sys.stdin.read()
"""
ENDED_S = 5.0


def is_running(pid: int) -> bool:
    """Tell whether a process lives; one that only waits to be reaped does not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_without_the_program_the_stack_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before anything is started."""
    monkeypatch.setattr(rust_program, "version", lambda _: "0.32.0")
    monkeypatch.setattr(rust_program, "find_program", lambda _: Missing(reason="not installed"))

    with pytest.raises(UsageError, match="vllm-rust cannot be started: not installed"):
        require_program()


def test_the_program_ends_when_its_server_is_killed(tmp_path: Path) -> None:
    """Nothing of the server runs that could end it."""
    starter = write_starter(Path("/bin/sleep"), tmp_path)
    server = subprocess.Popen(
        [sys.executable, "-c", LAUNCHER, str(starter)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with server:
        assert server.stdout is not None
        pid = int(server.stdout.readline())
        deadline_s = time.monotonic() + ENDED_S
        while b"sleep" not in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]:
            assert time.monotonic() < deadline_s
            time.sleep(0.01)

        server.kill()
        server.wait()

    while is_running(pid) and time.monotonic() < deadline_s:
        time.sleep(0.01)
    assert not is_running(pid)


def test_the_starter_is_what_vllm_is_told_to_start(tmp_path: Path) -> None:
    """By the variables that a user of vLLM sets."""
    starter = write_starter(Path("/opt/a b/vllm-rs"), tmp_path)

    assert switches(starter) == {
        "VLLM_USE_RUST_FRONTEND": "1",
        "VLLM_RUST_FRONTEND_PATH": str(starter),
    }
    assert "'/opt/a b/vllm-rs'" in starter.read_text()
    assert os.access(starter, os.X_OK)
