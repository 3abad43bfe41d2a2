"""The dashboard asks vLLM for nothing that it does not print."""

from __future__ import annotations

import json
import re
from pathlib import Path

from libs.testing.simulated_server import SimulatedServer

DASHBOARD = Path(__file__).parents[3] / "deploy" / "grafana" / "sluice.json"


def test_every_engine_metric_of_the_dashboard_is_printed(server: SimulatedServer) -> None:
    """By vLLM's own exporter, which every front end has."""
    printed = set(re.findall(r"^(vllm:\w+)\{", server.metrics_page(), re.MULTILINE))

    panels = json.loads(DASHBOARD.read_text())["panels"]
    queries = [target["expr"] for panel in panels for target in panel.get("targets", [])]
    asked = {name for query in queries for name in re.findall(r"vllm:\w+", query)}

    assert len(asked) == 5
    assert asked - printed == set()
