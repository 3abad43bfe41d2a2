"""`./sluice bench compare` as a user runs it: bad input, one real stack, and an interruption.

The stacks are vLLM's own; Sluice and Ray start the same way and take several times as long.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from libs.engine.default_model import LOCK_FILE, MARKER, default_model_path
from libs.testing.held_files import files_of, left
from libs.testing.local_stack import ROOT, Done, sluice
from libs.testing.ray_node import marked
from libs.testing.tiny_model import write_tiny_model

START_S = 120.0


def with_tiny_model(var: Path) -> Path:
    """Put a model without weights in the built-in one's place, and return the state folder."""
    model = write_tiny_model(default_model_path(var / "models"), context_tokens=4096)
    (model / MARKER).write_text(hashlib.sha256(LOCK_FILE.read_bytes()).hexdigest())
    return var


def left_over(var: Path) -> list[int]:
    """List what still runs with this state folder in its environment."""
    return sorted(marked(f"SLUICE_VAR={var}"))


def refused(done: Done, told: str) -> None:
    """Check the exit code, the one line, and what it says."""
    assert done.code == 2, done
    (line,) = done.err.strip().splitlines()
    assert re.search(told, line), line


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--stacks", "sluice,triton"], "no stack 'triton'; --stacks takes sluice, vllm-rust"),
        (["--cases", "mein"], "no case 'mein'; --cases takes main"),
    ],
)
def test_what_is_not_known_is_refused_in_one_line(
    tmp_path: Path, options: list[str], told: str
) -> None:
    """Before anything is started or written."""
    done = sluice("bench", "compare", *options, var=tmp_path / "var")

    refused(done, told)
    assert not (tmp_path / "var").exists()


@pytest.mark.parametrize("stack", ["vllm", "vllm-rust"])
def test_one_stack_is_started_measured_and_stopped(tmp_path: Path, stack: str) -> None:
    """Its cost is told by role, on standard output and in the file alike; no file is left of it."""
    var, out = with_tiny_model(tmp_path / "var"), tmp_path / "out"

    with files_of(lambda: left_over(var)) as files:
        done = sluice(
            *("bench", "compare", "--stacks", stack, "--cases", "one_client", "--rounds", "1"),
            *("--json", "--out", str(out)),
            var=var,
            timeout_s=2 * START_S,
        )

    assert done.code == 0, done
    assert any(file.is_relative_to("/dev/shm") for file in files)
    assert left(files, inside=tmp_path) == []
    tree = json.loads(done.out)
    assert tree == json.loads((out / "compare.json").read_text())
    assert tree["rounds"] == 1
    found = tree["cases"]["one_client"][stack]
    assert found["tokens_per_s"] > 0
    assert 0 < found["generator_cpu_ratio"] < 1
    assert found["errors"] == 0
    cost = found["cpu_ms_per_1k_tokens"]
    for role in ("front_end", "haproxy", "engine_core", "worker"):
        assert cost[role] > 0, cost
    assert cost["outside_engine"] == pytest.approx(
        sum(cost[role] for role in ("front_end", "haproxy", "router", "proxy", "control_plane")),
        rel=0.01,
    )
    assert left_over(var) == []


def test_ctrl_c_stops_what_was_started_and_keeps_the_results(tmp_path: Path) -> None:
    """Also while a stack is starting; exit code 130."""
    var, out = with_tiny_model(tmp_path / "var"), tmp_path / "out"
    options = ["--stacks", "vllm", "--out", str(out)]
    running = subprocess.Popen(
        [sys.executable, "-m", "tools.cli", "bench", "compare", *options],
        cwd=ROOT,
        env=os.environ | {"SLUICE_VAR": str(var)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + START_S
    while len(left_over(var)) < 4 and time.monotonic() < deadline:
        time.sleep(0.2)

    os.killpg(running.pid, signal.SIGINT)
    _, err = running.communicate(timeout=60)

    assert running.returncode == 130, err
    assert "Traceback" not in err
    assert "interrupted" in err
    assert json.loads((out / "compare.json").read_text()) == {"rounds": 0, "cases": {}}
    assert left_over(var) == []
