"""The autoscaler's settings; the only reader of the environment."""

from __future__ import annotations

from pathlib import Path

from pydantic import AliasChoices, Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class AutoscalerSettings(BaseSettings):
    """Read from variables with the prefix `SLUICE_AUTOSCALER_`.

    Attributes:
        nats_credentials_file: this service's way to the bus, a JSON file of mode 0600.
        ray_dashboard_url: where Ray's dashboard is, such as `http://127.0.0.1:8265`.
        ray_token_file: Ray's authentication token; the variable RAY_AUTH_TOKEN_PATH, which Ray's
            own programs read, names it too. None where Ray runs without authentication.
        import_path: what builds the Serve application of a model.
        traces_dir: where traces go when no OTLP endpoint is configured; None drops them.
        trace_ratio: share of changes that are traced, 0 to 1; changes are few, so all of them.
        resync_s: how often everything is read again when nothing wakes the loop.
        request_timeout_s: how long Ray's dashboard may take to answer.
        deploy_timeout_s: how long it may take to accept a configuration; the first one starts
            Ray Serve itself.
        log_level: `debug`, `info`, `warning` or `error`.
    """

    model_config = SettingsConfigDict(
        env_prefix="SLUICE_AUTOSCALER_", frozen=True, extra="ignore", populate_by_name=True
    )

    nats_credentials_file: Path
    ray_dashboard_url: str = Field(pattern=r"^https?://")
    ray_token_file: Path | None = Field(
        default=None,
        validation_alias=AliasChoices("SLUICE_AUTOSCALER_RAY_TOKEN_FILE", "RAY_AUTH_TOKEN_PATH"),
    )
    import_path: str = "services.replica.serve_app:build"
    traces_dir: Path | None = None
    trace_ratio: float = Field(default=1.0, ge=0, le=1)
    resync_s: float = Field(default=5.0, gt=0)
    request_timeout_s: float = Field(default=10.0, gt=0)
    deploy_timeout_s: float = Field(default=60.0, gt=0)
    log_level: str = Field(default="info", pattern="^(debug|info|warning|error)$")
