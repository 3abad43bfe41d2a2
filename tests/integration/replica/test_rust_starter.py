"""The script that becomes vLLM's Rust front end."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from services.replica.adapters.vllm.rust_program import RustPlan, write_starter
from services.replica.adapters.vllm.rust_threads import THREADS_MAX, thread_counts
from services.replica.sockets import TcpSocket


def environment_of(folder: Path) -> dict[str, str]:
    """Return the environment that the program has, with `env` in its place."""
    at = TcpSocket(listen_host="127.0.0.1", advertise_host="127.0.0.1")
    plan = RustPlan(program=Path("/usr/bin/env"), at=at, folder=folder, drain_timeout_s=1.0)
    said = subprocess.check_output([write_starter(plan)], text=True)
    at.close()
    return dict(line.split("=", 1) for line in said.splitlines() if "=" in line)


def test_the_program_gets_as_many_threads_as_suit_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All three runtimes."""
    for name in THREADS_MAX:
        monkeypatch.delenv(name, raising=False)

    found = environment_of(tmp_path)

    counts = thread_counts(len(os.sched_getaffinity(0)))
    assert {name: found[name] for name in THREADS_MAX} == {
        name: str(count) for name, count in counts.items()
    }


def test_a_number_of_threads_that_the_user_has_set_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may know their load better."""
    monkeypatch.setenv("TOKIO_WORKER_THREADS", "23")

    assert environment_of(tmp_path)["TOKIO_WORKER_THREADS"] == "23"
