"""The Ray that is installed knows the settings with which a node keeps still."""

from __future__ import annotations

from pathlib import Path

import pytest
import ray

from deploy.local.ray_at_rest import AT_REST, DASHBOARD_MODULES
from libs.testing.ray_node import RayNode

RAY = Path(ray.__file__).parent
SERVE_PREFIX = "RAY_SERVE_"
CORE_PREFIX = "RAY_"


def known_by(name: str) -> bool:
    """Tell whether Serve, Ray's core or its dashboard reads a variable."""
    if name.startswith(SERVE_PREFIX):
        return f'"{name}"' in (RAY / "serve" / "_private" / "constants.py").read_text()
    if name.startswith(CORE_PREFIX):
        raylet = RAY / "core" / "src" / "ray" / "raylet" / "raylet"
        return name.removeprefix(CORE_PREFIX).encode() in raylet.read_bytes()
    return any(f'"{name}"' in path.read_text() for path in (RAY / "dashboard").rglob("*consts.py"))


@pytest.mark.parametrize("name", AT_REST)
def test_every_setting_is_one_that_ray_reads(name: str) -> None:
    """Ray ignores names that it does not know, so a renamed one would be lost silently."""
    assert known_by(name)


def test_the_dashboard_runs_only_the_modules_in_use(head: RayNode) -> None:
    """Each module is a process with a log file; Serve's REST interface answers with these."""
    modules = {path.stem for path in head.logs.glob("dashboard_*Head.log")}

    assert modules == {f"dashboard_{name}" for name in DASHBOARD_MODULES}
    assert "applications" in head.call("GET", "/api/serve/applications/")


def test_nothing_watches_log_files_or_waits_for_ray_clients(head: RayNode) -> None:
    """Both would poll for readers that do not exist."""
    names = {path.name.partition(".")[0] for path in head.logs.iterdir()}

    assert "raylet" in names
    assert not names & {"log_monitor", "ray_client_server"}
