"""OpenTelemetry's own variables, which every service shares."""

from __future__ import annotations

import os


def otel_environment() -> dict[str, str]:
    """Return the variables that OpenTelemetry defines, such as OTEL_EXPORTER_OTLP_ENDPOINT."""
    return {name: text for name, text in os.environ.items() if name.startswith("OTEL_")}
