"""`./sluice bench idle` as a user runs it: bad input, and a stack of its own."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from libs.engine.default_model import LOCK_FILE, MARKER, default_model_path
from libs.testing.local_stack import sluice
from libs.testing.ray_node import marked
from libs.testing.tiny_model import write_tiny_model

RUN_S = 300.0


def test_more_replicas_than_there_is_room_for_are_refused(tmp_path: Path) -> None:
    """Before anything is started."""
    done = sluice("bench", "idle", "--replicas", "1000", var=tmp_path / "var")

    assert done.code == 2, done
    (line,) = done.err.strip().splitlines()
    assert "--replicas asks for 1000 workers" in line


def test_an_idle_stack_is_started_measured_and_stopped(tmp_path: Path) -> None:
    """Every part of it is known by name, and nothing is left running."""
    var = tmp_path / "var"
    model = write_tiny_model(default_model_path(var / "models"), context_tokens=4096)
    (model / MARKER).write_text(hashlib.sha256(LOCK_FILE.read_bytes()).hexdigest())

    done = sluice(
        *("bench", "idle", "--replicas", "1", "--seconds", "5", "--settle-s", "0", "--json"),
        var=var,
        timeout_s=RUN_S,
    )

    assert done.code == 0, done
    tree = json.loads(done.out)
    assert tree["replicas"] == 1
    assert tree["cpus"] > 0
    assert tree["parts"]["serve_replica"]["processes"] == 1
    used = ("serve_controller", "engine_core", "worker", "gcs", "raylet", "dashboard", "nats")
    unused = {*used, "router_config", "autoscaler", "haproxy"} - tree["parts"].keys()
    assert unused == set(), done
    assert "measuring for 5 s" in done.err
    assert marked(f"SLUICE_MODELS_DIR={var / 'models'}") == set()
