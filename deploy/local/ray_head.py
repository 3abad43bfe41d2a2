"""How a Ray head node is started so that it keeps to loopback (pure)."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deploy.local.ray_at_rest import AT_REST, START_OPTIONS

GCS_STORE_VARIABLE: Final = "RAY_gcs_storage_path"
"""Where Ray's GCS keeps what it knows."""

RESTARTS_MAX: Final = 5
RESTARTS_WINDOW_S: Final = 300.0
"""A process that dies more often than this cannot run here: then the node ends, as Ray's does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RayHead:
    """A head node on this machine.

    Attributes:
        port: of the cluster's store (GCS), where drivers connect.
        temp_dir: short, as Ray's sockets lie below it and a socket's path ends at 107 bytes.
        logical_cpus: what Ray may hand out; None counts the machine's.
        logical_devices: device slots that Ray may hand out; None counts the machine's GPUs.
    """

    port: int
    dashboard_port: int
    agent_port: int
    temp_dir: Path
    token_file: Path
    object_store_bytes: int
    logical_cpus: int | None = None
    logical_devices: int | None = None

    @property
    def address(self) -> str:
        """Where drivers connect."""
        return f"127.0.0.1:{self.port}"

    @property
    def dashboard_url(self) -> str:
        """Ray's REST interface."""
        return f"http://127.0.0.1:{self.dashboard_port}"

    @property
    def gcs_store(self) -> Path:
        """Where the GCS keeps what it knows for as long as the node runs."""
        return self.temp_dir.with_name(f"{self.temp_dir.name}-gcs")


def start_command(head: RayHead, *, python: str) -> Sequence[str]:
    """Return the command that runs the node for as long as it runs itself."""
    return [
        *(python, "-m", "deploy.local.kept_ray", "start", "--head", "--block"),
        "--node-ip-address=127.0.0.1",
        f"--port={head.port}",
        "--dashboard-host=127.0.0.1",
        f"--dashboard-port={head.dashboard_port}",
        f"--dashboard-agent-listen-port={head.agent_port}",
        # Ports from the kernel: Ray's own range is shared by every cluster of the machine.
        "--min-worker-port=0",
        "--max-worker-port=0",
        "--include-dashboard=true",
        "--disable-usage-stats",
        "--no-monitor",
        *START_OPTIONS,
        f"--temp-dir={head.temp_dir}",
        f"--object-store-memory={head.object_store_bytes}",
        *([] if head.logical_cpus is None else [f"--num-cpus={head.logical_cpus}"]),
        *([] if head.logical_devices is None else [f"--num-gpus={head.logical_devices}"]),
    ]


def driver_environment(head: RayHead) -> dict[str, str]:
    """Return what a process needs to connect to the node."""
    return {
        "RAY_ADDRESS": head.address,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(head.token_file),
        # Keeps Ray on loopback: otherwise it replaces 127.0.0.1 by the machine's own address.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    }


def node_environment(head: RayHead) -> dict[str, str]:
    """Return what the node itself needs."""
    return driver_environment(head) | {
        # Whoever ends the node has ended its clients before, so there is nothing to drain.
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
        # Ray's default of 15 halves throughput on a busy machine.
        "RAY_worker_niceness": "0",
        # A replica that does not answer cannot drain; Serve would wait for it, and for its device,
        # as long as one that does may take.
        "RAY_SERVE_FORCE_STOP_UNHEALTHY_REPLICAS": "1",
        # Workers outlive a dead GCS for this long; one that comes back knows what it knew.
        "RAY_gcs_rpc_server_reconnect_timeout_s": "600",
        "RAY_gcs_storage": "rocksdb",
        GCS_STORE_VARIABLE: str(head.gcs_store),
        "RAY_USAGE_STATS_ENABLED": "0",
        **AT_REST,
    }


def may_restart(restarts: Sequence[float], *, now: float) -> bool:
    """Tell whether a process that died may be started again; times are seconds of one clock."""
    recent = [at for at in restarts if now - at < RESTARTS_WINDOW_S]
    return len(recent) < RESTARTS_MAX


def is_ray_stop(code: int) -> bool:
    """Tell whether `ray start --block` takes an exit code for the result of `ray stop`.

    It keeps running then. A raylet whose agent has died exits with such a code on its own.
    Source: ray 2.60, `start` in ray/scripts/scripts.py.
    """
    return code in {0, signal.SIGTERM, -signal.SIGTERM, 128 + signal.SIGTERM}
