"""Which processes a stack has and with what environment (pure).

Each gets what it reads of the user's environment and nothing else: a client's API key reaches none
of them, and a hub's token is in a file that the replicas alone are told of.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Final

from deploy.local.ray_head import RayHead, driver_environment, node_environment, start_command
from deploy.local.supervisord_conf import (
    LOG_VARIABLE,
    PROGRAM_VARIABLE,
    PYTHON_VARIABLE,
    Program,
)
from tools.cli.stack.layout import Layout
from tools.cli.stack.processes import marks
from tools.cli.stack.record import StackRecord

NATS: Final = "nats"
NATS_WATCH: Final = "nats-watch"
RAY: Final = "ray"
ROUTER_CONFIG: Final = "router-config"
BODY_READER: Final = "body-reader"
AUTOSCALER: Final = "autoscaler"
LOG_KEEPER: Final = "log-keeper"

EDGE_ID: Final = "local"

LOGICAL_SLOTS: Final = 64
"""CPUs and device slots that Ray may hand out; what really limits a laptop is its memory."""

_OBJECT_STORE_BYTES: Final = 256 * 1024 * 1024
"""Nothing of ours goes through Ray's object store; this is near Ray's own minimum."""

LOG_BYTES_MAX: Final = 20 * 1024 * 1024
LOGS_KEPT: Final = 2
LOGS_LOOKED_AT_S: Final = 5.0
"""A log file is emptied at this size, older copies are kept, and it is looked at so often."""

HUB_TOKEN: Final = "HF_TOKEN"  # noqa: S105 - a variable's name

_SHARED: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "SLUICE_VAR")
_TELEMETRY: Final = ("OTEL_",)
_REPLICAS: Final = (
    *("OTEL_", "VLLM_", "HF_", "CUDA_", "NVIDIA_", "NCCL_"),
    *("SLUICE_REPLICA_", "SLUICE_VLLM_", "SLUICE_SIMULATED_", "SLUICE_ENGINE_"),
    "TOKIO_WORKER_THREADS",  # of vLLM's Rust front end
)
_ROUTER_CONFIGS: Final = "SLUICE_ROUTER_CONFIG_"
_AUTOSCALERS: Final = "SLUICE_AUTOSCALER_"


def inherited(environment: Mapping[str, str]) -> dict[str, str]:
    """Pick what a process that fetches and runs a model takes over from the user's environment."""
    return picked(environment, *_REPLICAS)


def picked(environment: Mapping[str, str], *prefixes: str) -> dict[str, str]:
    """Pick what every process needs, and the variables that begin so."""
    return {
        name: value
        for name, value in environment.items()
        if name in _SHARED or name.startswith(prefixes)
    }


def programs(
    layout: Layout,
    record: StackRecord,
    *,
    nats_server: str,
    environment: Mapping[str, str],
    cuda: bool,
) -> list[Program]:
    """List the stack's programs, in the order in which they start."""
    own = own_environment(layout, record, environment)
    return [
        _log_keeper(layout, picked(environment) | own),
        _nats(layout, picked(environment) | own, nats_server),
        _nats_watch(layout, picked(environment) | own),
        _ray(layout, record, inherited(environment) | own, cuda=cuda),
        _router_config(layout, record, picked(environment, _ROUTER_CONFIGS, *_TELEMETRY) | own),
        _body_reader(layout, record, picked(environment, _ROUTER_CONFIGS) | own),
        _autoscaler(layout, record, picked(environment, _AUTOSCALERS, *_TELEMETRY) | own),
    ]


def own_environment(
    layout: Layout, record: StackRecord, environment: Mapping[str, str]
) -> dict[str, str]:
    """Return what every process of the stack gets from us: its marks, and how it runs Python."""
    return {
        **marks(record.stack_id, layout.var),
        "PYTHONPATH": python_path(layout, environment),
        "PYTHONUNBUFFERED": "1",
        # vLLM's process titles would overwrite the environment, and the stack's mark with it.
        "SPT_NOENV": "1",
    }


def supervisor_environment(
    layout: Layout, record: StackRecord, environment: Mapping[str, str]
) -> dict[str, str]:
    """Return supervisord's environment, in which it finds what its file cannot carry."""
    return {
        **picked(environment),
        **own_environment(layout, record, environment),
        PYTHON_VARIABLE: sys.executable,
        PROGRAM_VARIABLE: str(layout.root / "deploy" / "local" / "launch.py"),
        LOG_VARIABLE: str(layout.supervisor_log),
    }


def ray_head(layout: Layout, record: StackRecord, *, cuda: bool) -> RayHead:
    """Describe the stack's Ray node; with `cuda` Ray counts the machine's own CPUs and GPUs."""
    slots = None if cuda else LOGICAL_SLOTS
    return RayHead(
        port=record.ray_port,
        dashboard_port=record.dashboard_port,
        agent_port=record.ray_agent_port,
        temp_dir=layout.ray_temp,
        token_file=layout.ray_token,
        object_store_bytes=_OBJECT_STORE_BYTES,
        logical_cpus=slots,
        logical_devices=slots,
    )


def python_path(layout: Layout, environment: Mapping[str, str]) -> str:
    """Return the import roots of the stack's processes: ours, then the user's or Bazel's."""
    kept = [part for part in environment.get("PYTHONPATH", "").split(":") if part]
    own = [str(layout.root), str(layout.root / "libs" / "engine" / "plugin")]
    return ":".join(dict.fromkeys([*own, *kept]))


def _log_keeper(layout: Layout, base: Mapping[str, str]) -> Program:
    bounds = (str(LOG_BYTES_MAX), str(LOGS_KEPT), str(LOGS_LOOKED_AT_S))
    return Program(
        name=LOG_KEEPER,
        command=[
            *(sys.executable, "-S", "-m", "deploy.local.keep_logs"),
            *(str(layout.logs), *bounds, str(layout.run)),
        ],
        environment=base,
        directory=layout.work,
        log_file=layout.log_file(LOG_KEEPER),
    )


def _nats(layout: Layout, base: Mapping[str, str], nats_server: str) -> Program:
    return Program(
        name=NATS,
        command=[nats_server, "-c", str(layout.nats_conf)],
        environment=base,
        directory=layout.work,
        log_file=layout.log_file(NATS),
    )


def _nats_watch(layout: Layout, base: Mapping[str, str]) -> Program:
    """Restart NATS if its writes fail although the disk has room."""
    return Program(
        name=NATS_WATCH,
        command=[
            *(sys.executable, "-m", "deploy.local.nats_watch"),
            str(layout.credentials(NATS_WATCH)),
            str(layout.nats_store),
            str(layout.supervisor_socket),
            NATS,
        ],
        environment=base,
        directory=layout.work,
        log_file=layout.log_file(NATS_WATCH),
    )


def _ray(layout: Layout, record: StackRecord, base: Mapping[str, str], *, cuda: bool) -> Program:
    head = ray_head(layout, record, cuda=cuda)
    return Program(
        name=RAY,
        command=start_command(head, python=sys.executable),
        environment={
            **{name: value for name, value in base.items() if name != HUB_TOKEN},
            **({"HF_TOKEN_PATH": str(layout.hub_token)} if HUB_TOKEN in base else {}),
            **node_environment(head),
            # Ray's dashboard leaves files there when it is killed; torch keeps a cache there.
            "TMPDIR": str(layout.run),
            "TORCHINDUCTOR_CACHE_DIR": str(layout.torch_cache),
            "SLUICE_REPLICA_NATS_CREDENTIALS_FILE": str(layout.credentials("replica")),
            "SLUICE_REPLICA_TRACES_DIR": str(layout.traces),
            "SLUICE_REPLICA_MODELS_DIR": str(layout.models),
            "SLUICE_REPLICA_SOCKETS_DIR": str(layout.replica_sockets),
        },
        directory=layout.work,
        log_file=layout.log_file(RAY),
        stop_wait_s=20,
        stop_group=True,
    )


def _router_config(layout: Layout, record: StackRecord, base: Mapping[str, str]) -> Program:
    """Describe it; supervisord's SIGINT ends HAProxy as well, SIGTERM from anywhere does not."""
    return Program(
        name=ROUTER_CONFIG,
        command=[sys.executable, "-m", "services.router_config"],
        environment={
            **_edge_environment(layout, record, base),
            "SLUICE_ROUTER_CONFIG_OWN_HAPROXY": "false",
        },
        stop_signal="INT",
        directory=layout.work,
        log_file=layout.log_file(ROUTER_CONFIG),
        stop_wait_s=20,
    )


def _body_reader(layout: Layout, record: StackRecord, base: Mapping[str, str]) -> Program:
    """A HAProxy that router-config's own program becomes: it shares its settings, not its life."""
    return Program(
        name=BODY_READER,
        command=[sys.executable, "-m", "services.router_config", "reader"],
        environment=_edge_environment(layout, record, base),
        directory=layout.work,
        log_file=layout.log_file(BODY_READER),
    )


def _edge_environment(
    layout: Layout, record: StackRecord, base: Mapping[str, str]
) -> dict[str, str]:
    prefix = "SLUICE_ROUTER_CONFIG_"
    certificate = record.tls_certificate
    return {
        **base,
        f"{prefix}EDGE_ID": EDGE_ID,
        f"{prefix}STATE_DIR": str(layout.haproxy),
        f"{prefix}RUN_DIR": str(layout.run),
        f"{prefix}LOG_FILE": str(layout.logs / "haproxy.log"),
        f"{prefix}API_HOST": record.api_host,
        f"{prefix}API_PORT": str(record.api_port),
        f"{prefix}STATS_PORT": str(record.stats_port),
        f"{prefix}METRICS_PORT": str(record.metrics_port),
        **({f"{prefix}TLS_CERTIFICATE_FILE": certificate} if certificate else {}),
        # HAProxy gets nothing of this environment, but `down` must find it.
        f"{prefix}HAPROXY_ENVIRONMENT": json.dumps(marks(record.stack_id, layout.var)),
        f"{prefix}NATS_CREDENTIALS_FILE": str(layout.credentials("router-config")),
        # All replicas of a one-machine stack listen there.
        f"{prefix}REPLICA_NETWORKS": "127.0.0.0/8,::1/128",
        f"{prefix}REPLICA_SOCKETS_DIR": str(layout.replica_sockets),
        f"{prefix}TRACES_DIR": str(layout.traces),
    }


def _autoscaler(layout: Layout, record: StackRecord, base: Mapping[str, str]) -> Program:
    prefix = "SLUICE_AUTOSCALER_"
    return Program(
        name=AUTOSCALER,
        command=[sys.executable, "-m", "services.autoscaler"],
        environment={
            **base,
            **driver_environment(ray_head(layout, record, cuda=False)),
            f"{prefix}NATS_CREDENTIALS_FILE": str(layout.credentials("autoscaler")),
            f"{prefix}RAY_DASHBOARD_URL": record.dashboard_url,
            f"{prefix}TRACES_DIR": str(layout.traces),
        },
        directory=layout.work,
        log_file=layout.log_file(AUTOSCALER),
    )
