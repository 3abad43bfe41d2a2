"""The replica's settings; a replica inherits its environment from the Ray node it runs on."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.replica.domain.work import WorkLimits

_LIMITS = WorkLimits()


class ReplicaSettings(BaseSettings):
    """Read from variables with the prefix `SLUICE_REPLICA_`.

    Attributes:
        nats_credentials_file: this service's way to the bus, a JSON file of mode 0600.
        models_dir: where the built-in model is.
        traces_dir: where traces go when no OTLP endpoint is configured; None drops them.
        sockets_dir: a folder on the edge's own machine, with a path of at most 54 bytes, in which
            the replica makes its own; both front ends then listen on unix sockets of mode 0600 and
            on no port. None means ports, and a folder among the temporary files.
        listen_host: the address on which replicas serve HTTP; loopback unless HAProxy is elsewhere.
        advertise_host: the address that leases carry; where HAProxy reaches `listen_host`.
        drain_grace_s: how long a leaving replica still takes requests, in seconds, so that the
            router takes it out before anybody is refused.
        drain_deadline_s: how long running requests may take after that, in seconds.
        trace_ratio: how many of the traces that begin here are kept, 0 to 1; requests that come
            through the edge bring its decision along.
        sequences_max, inputs_max, messages_max, biases_max, grammar_bytes_max: as in `WorkLimits`.
        log_level: `debug`, `info`, `warning` or `error`.
    """

    model_config = SettingsConfigDict(env_prefix="SLUICE_REPLICA_", frozen=True, extra="ignore")

    nats_credentials_file: Path
    models_dir: Path
    traces_dir: Path | None = None
    sockets_dir: Path | None = None
    listen_host: str = "127.0.0.1"
    advertise_host: str = "127.0.0.1"
    drain_grace_s: float = Field(default=1.0, ge=0)
    drain_deadline_s: float = Field(default=600.0, gt=0)
    trace_ratio: float = Field(default=1.0, ge=0, le=1)
    sequences_max: int = Field(default=_LIMITS.sequences_max, ge=1)
    inputs_max: int = Field(default=_LIMITS.inputs_max, ge=1)
    messages_max: int = Field(default=_LIMITS.messages_max, ge=1)
    biases_max: int = Field(default=_LIMITS.biases_max, ge=0)
    grammar_bytes_max: int = Field(default=_LIMITS.grammar_bytes_max, ge=0)
    log_level: str = "info"

    @property
    def work_limits(self) -> WorkLimits:
        """What one request may ask for."""
        return WorkLimits(
            sequences_max=self.sequences_max,
            inputs_max=self.inputs_max,
            messages_max=self.messages_max,
            biases_max=self.biases_max,
            grammar_bytes_max=self.grammar_bytes_max,
        )
