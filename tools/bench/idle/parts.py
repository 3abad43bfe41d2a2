"""Which part of an idle stack a process is, by its command line (pure).

Ray and vLLM write what a process is into its title; the other programs are known by their file or
module.
"""

from __future__ import annotations

from enum import StrEnum
from itertools import pairwise
from pathlib import PurePath
from typing import Final


class Part(StrEnum):
    """A kind of process; the values are what a person reads."""

    SERVE_CONTROLLER = "Serve's controller"
    SERVE_REPLICA = "Serve replicas"
    RUST_FRONT_END = "Rust front ends"
    ENGINE_CORE = "engine cores"
    WORKER = "workers"
    GCS = "GCS"
    RAYLET = "raylet"
    DASHBOARD = "dashboard"
    DASHBOARD_MODULES = "dashboard's modules"
    AGENTS = "Ray's agents"
    LOG_MONITOR = "log monitor"
    RAY_CLIENT_SERVER = "Ray Client server"
    RAY_NODE = "Ray's node"
    NATS = "NATS"
    ROUTER_CONFIG = "router-config"
    AUTOSCALER = "autoscaler"
    HAPROXY = "HAProxy"
    SUPERVISOR = "supervisord"
    LOG_KEEPER = "log keeper"
    OTHER = "other"


_TITLES: Final = (
    ("ray::ServeController", Part.SERVE_CONTROLLER),
    ("ray::ServeReplica:", Part.SERVE_REPLICA),
    ("VLLM::EngineCore", Part.ENGINE_CORE),
    ("VLLM::Worker", Part.WORKER),
    ("ray::RayWorkerProc", Part.WORKER),
    ("ray::DashboardAgent", Part.AGENTS),
    ("ray::RuntimeEnvAgent", Part.AGENTS),
    ("ray-dashboard-", Part.DASHBOARD_MODULES),
)
"""How titles begin; Ray pads them and appends the running method."""

_PROGRAMS: Final = {
    "gcs_server": Part.GCS,
    "raylet": Part.RAYLET,
    "nats-server": Part.NATS,
    "haproxy": Part.HAPROXY,
    "vllm-rs": Part.RUST_FRONT_END,
}
_SCRIPTS: Final = {
    "dashboard.py": Part.DASHBOARD,
    "log_monitor.py": Part.LOG_MONITOR,
}
_MODULES: Final = {
    "deploy.local.keep_logs": Part.LOG_KEEPER,
    "deploy.local.kept_ray": Part.RAY_NODE,
    "ray.util.client.server": Part.RAY_CLIENT_SERVER,
    "services.router_config": Part.ROUTER_CONFIG,
    "services.autoscaler": Part.AUTOSCALER,
    "supervisor.supervisord": Part.SUPERVISOR,
}


def part_of(command: str) -> Part:
    """Return the part that a process is; its words are separated by spaces."""
    for title, part in _TITLES:
        if command.startswith(title):
            return part
    words = command.split()
    program = PurePath(words[0]).name if words else ""
    return _PROGRAMS.get(program) or _python_part(words) or Part.OTHER


def _python_part(words: list[str]) -> Part | None:
    """Return what a Python process runs: the module after `-m`, or a script of Ray's."""
    for before, word in pairwise(words):
        if before == "-m":
            return _MODULES.get(word)
        if word.endswith(".py"):
            return _SCRIPTS.get(PurePath(word).name)
    return None
