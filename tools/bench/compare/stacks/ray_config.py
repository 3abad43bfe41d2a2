"""What a Ray node and Ray Serve LLM are told (pure)."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from libs.contracts.model_spec import ModelSpec
from libs.engine.simulated.settings import BLOCK_SIZE, WORKER_CLASS, additional_config

APPLICATION: Final = "llm"

FAST_PATH: Final = {
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    "RAY_SERVE_LLM_ENABLE_DIRECT_STREAMING": "1",
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
}
"""HAProxy in front of the replicas, tokens straight from vLLM's own application."""

_SLOTS: Final = 64
_OBJECT_STORE_BYTES: Final = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class RayPorts:
    """Where the node listens; `api` is the clients', the others are Ray's own."""

    api: int
    ray: int
    dashboard: int
    client: int
    agent: int
    haproxy_metrics: int
    haproxy_stats: int


def node_command(ports: RayPorts, folder: Path) -> list[str]:
    """Return how the node is started; as Sluice starts its own."""
    return [
        *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"),
        "--node-ip-address=127.0.0.1",
        f"--port={ports.ray}",
        "--dashboard-host=127.0.0.1",
        f"--dashboard-port={ports.dashboard}",
        "--include-dashboard=true",
        f"--temp-dir={folder}",
        f"--object-store-memory={_OBJECT_STORE_BYTES}",
        "--disable-usage-stats",
        f"--ray-client-server-port={ports.client}",
        f"--dashboard-agent-listen-port={ports.agent}",
        "--min-worker-port=0",
        "--max-worker-port=0",
        "--no-monitor",
        f"--num-cpus={_SLOTS}",
    ]


def node_environment(ports: RayPorts, folder: Path, token_file: Path) -> dict[str, str]:
    """Return what the node's processes need beside what every stack gets."""
    return {
        "RAY_ADDRESS": f"127.0.0.1:{ports.ray}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token_file),
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
        "RAY_worker_niceness": "0",
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(ports.haproxy_metrics),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(ports.haproxy_stats),
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(folder / "h" / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(folder / "h" / "admin.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(folder / "h"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(folder / "h" / "server-state"),
    }


def serve_config(spec: ModelSpec, *, model: Path, port: int) -> dict[str, object]:
    """Return the configuration that is sent to Serve, with access logs off."""
    return {
        "proxy_location": "HeadOnly",
        "http_options": {"host": "127.0.0.1", "port": port},
        "logging_config": {"log_level": "INFO", "enable_access_log": False},
        "applications": [
            {
                "name": APPLICATION,
                "route_prefix": "/",
                "import_path": "ray.serve.llm:build_openai_app",
                "args": {"llm_configs": [_llm_config(spec, model)]},
            }
        ],
    }


def _llm_config(spec: ModelSpec, model: Path) -> dict[str, object]:
    return {
        "model_loading_config": {"model_id": spec.name, "model_source": str(model)},
        "accelerator_config": {"kind": "cpu"},
        "engine_kwargs": {
            "worker_cls": WORKER_CLASS,
            "additional_config": additional_config(spec.simulation),
            "enforce_eager": True,
            "block_size": BLOCK_SIZE,
            "max_model_len": spec.engine.max_model_len,
            "max_num_seqs": spec.engine.max_num_seqs,
        },
        "deployment_config": {"num_replicas": spec.scaling.min},
    }
