"""The configuration of a Prometheus that scrapes one machine's stack (pure)."""

from __future__ import annotations

from typing import Final

_TEXT: Final = """\
# Written by `./sluice up`; start Prometheus with --config.file and this file.
# What the jobs offer is in deploy/grafana/README.md.
global:
  scrape_interval: 5s
scrape_configs:
  - job_name: sluice-router-config
    static_configs:
      - targets: ["127.0.0.1:{metrics_port}"]
  - job_name: sluice-haproxy
    static_configs:
      - targets: ["127.0.0.1:{stats_port}"]
  - job_name: sluice-replicas
    http_sd_configs:
      - url: http://127.0.0.1:{metrics_port}/replicas
        refresh_interval: 5s
"""


def render_prometheus_conf(*, metrics_port: int, stats_port: int) -> str:
    """Render it: two fixed jobs, and the replicas as router-config lists them."""
    return _TEXT.format(metrics_port=metrics_port, stats_port=stats_port)
