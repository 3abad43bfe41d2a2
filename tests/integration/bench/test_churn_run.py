"""`./sluice bench churn`, against a real NATS, router-config and HAProxy."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from libs.testing.edge_world import edge_world
from libs.testing.local_stack import ROOT, sluice, wait_until
from libs.testing.ray_node import marked
from libs.testing.records import a_model
from tools.bench.churn.edges import Edge
from tools.bench.churn.plan import ChurnPlan
from tools.bench.churn.run import Standing, run_churn

CLIENTS_PROGRAM = "tools.bench.load.worker"
START_S = 60.0
END_S = 60.0
SMALL = ("--clients", "6", "--replicas", "2", "--pace-s", "0.3", "--output-tokens", "6", "--json")


async def test_joins_and_leaves_hurt_nobody_and_leave_nothing_behind() -> None:
    """Every stream is whole, the long one too, and the edge is as it was."""
    plan = ChurnPlan(cycles=20, clients=6, replicas=2, pace_s=0.3, output_tokens=6)
    told: list[Standing] = []

    async with edge_world() as world:
        await world.declare(a_model("resident"))
        await world.until_listed("resident")
        edge = Edge(
            api_url=str(world.http.base_url),
            leases=world.bus,
            reports=world.bus,
            admin_socket=world.folder / "run" / "admin.sock",
        )
        found = await run_churn(plan, edge, tell=told.append, stop=asyncio.Event())
        await world.until_servers(0)
        listed = (await world.http.get("/v1/models")).json()

    assert found.problems == ()
    assert (found.cycles, len(found.joins_s)) == (20, 20)
    assert (found.counts.failed, found.counts.truncated) == (0, 0), found.counts.errors
    assert found.counts.requests > 20
    assert found.reloads == 0
    assert found.long_stream.is_whole, found.long_stream.fault
    assert found.long_stream.duration_s > 20 * plan.pace_s * 0.9
    assert 19 <= len(found.leaves_s) <= 20
    assert told[-1].cycles == 20
    assert [each["id"] for each in listed["data"]] == ["resident"]


def test_ctrl_c_keeps_the_results_so_far(tmp_path: Path) -> None:
    """Exit code 130, JSON on standard output, and no process is left."""
    var = tmp_path / "var"
    running = subprocess.Popen(
        [sys.executable, "-m", "tools.cli", "bench", "churn", "--cycles", "10000", *SMALL],
        cwd=ROOT,
        env={**os.environ, "SLUICE_VAR": str(var)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        wait_until(lambda: clients_run(var), timeout_s=START_S, what="clients that stream")
    finally:
        os.killpg(running.pid, signal.SIGINT)
        out, err = running.communicate(timeout=END_S)

    found = json.loads(out)
    assert running.returncode == 130, err
    assert "interrupted" in err
    assert found["interrupted"]
    assert (found["failed"], found["truncated"], found["reloads"]) == (0, 0, 0)
    assert found["long_stream_whole"]
    assert found["requests"] > 0
    assert marked(f"SLUICE_VAR={var}") == set()


def test_bad_input_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    """An option out of its bounds, and a stack that does not run."""
    none = sluice("bench", "churn", "--clients", "0", var=tmp_path / "var")
    away = sluice("bench", "churn", "--against", "running", var=tmp_path / "var")

    assert (none.code, away.code) == (2, 2)
    assert "--clients must be from 1" in none.err
    assert len(away.err.strip().splitlines()) == 1


def clients_run(var: Path) -> bool:
    """Tell whether the command with this state folder has started the program of its clients."""
    commands = (Path(f"/proc/{pid}/cmdline") for pid in marked(f"SLUICE_VAR={var}"))
    return any(CLIENTS_PROGRAM in path.read_text() for path in commands if path.exists())
