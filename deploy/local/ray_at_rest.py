"""How rarely a Ray node wakes up while nothing happens (pure data); measured in ADR-0016.

Ray's defaults poll for clusters of thousands of nodes and jobs. Here no request passes Ray, and its
own dashboard, metrics and task history have no reader: what is kept is Serve's REST interface, the
restart of dead replicas, and each process's own log file.

Source: ray 2.60, ray/serve/_private/constants.py, ray/dashboard, src/ray/common/ray_config_def.h.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

DASHBOARD_MODULES: Final = ("ServeHead",)
"""What Ray's dashboard loads: Serve's REST interface, which the autoscaler uses.

Lost: the pages and interfaces of nodes, jobs, events, metrics, tasks and training, each of which
is a process, and `ray job`, `ray list` and `ray summary` against a local stack.
"""

START_OPTIONS: Final[Sequence[str]] = (
    # It copies worker logs to drivers' terminals; here no driver has one. The files stay.
    "--include-log-monitor=false",
)

AT_REST: Final[Mapping[str, str]] = MappingProxyType(
    {
        # Serve's controller looks at its replicas twice a second, not ten times: a dead replica
        # is noticed and a scale call begins up to 0.4 s later, of a start that takes 15 s.
        "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.5",
        # Serve's request counters, ten times a second in each replica: requests do not pass Serve.
        "RAY_SERVE_METRICS_EXPORT_INTERVAL_MS": "60000",
        # Ray's own Prometheus metrics; Sluice's come from HAProxy, router-config and vLLM.
        "RAY_enable_metrics_collection": "0",
        # The history of tasks for `ray list tasks` and `ray timeline`.
        "RAY_task_events_report_interval_ms": "0",
        # The agent's CPU and memory readings of every process, for the dashboard's pages.
        "REPORTER_UPDATE_INTERVAL_MS": "3600000",
        # The dashboard's readings of its own modules, each from /proc/<pid>/smaps.
        "METRICS_RECORD_INTERVAL_S": "3600",
        # Changed resources reach the GCS within 0.5 s, not 0.1 s: a scale-up that waits for what
        # another replica has just given back begins so much later.
        "RAY_raylet_report_resources_period_milliseconds": "500",
        # Demand for Ray's own cluster autoscaler, which does not run (`--no-monitor`).
        "RAY_gcs_pull_resource_loads_period_milliseconds": "60000",
        "RAY_report_worker_backlog_interval_ms": "60000",
        # The object store's timers; nothing of Sluice's goes through it.
        "RAY_object_manager_timer_freq_ms": "1000",
        "RAY_raylet_check_gc_period_milliseconds": "1000",
        "RAY_local_fs_monitor_interval_ms": "1000",
        # Idle workers above the limit end within 1 s, not 0.2 s.
        "RAY_kill_idle_workers_interval_ms": "1000",
        # Memory is watched once a second, not four times: still before the kernel's own killer.
        "RAY_memory_monitor_refresh_ms": "1000",
        # The latency of event loops inside Ray, a metric as well.
        "RAY_io_context_monitor_probe_interval_ms": "10000",
    }
)
"""The node's environment, which all of its processes inherit."""
