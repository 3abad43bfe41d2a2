"""Where everything of a stack lies on this machine (pure)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SOCKET_PATH_BYTES_MAX: Final = 107
"""Linux ends the path of a unix socket here (sun_path, unix(7))."""

_LONGEST_SOCKET: Final = "ray/session_2026-01-01_00-00-00_000000_1234567/sockets/plasma_store"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The folders and files of one stack.

    Attributes:
        root: the checkout, which is also the import root.
        var: everything that the stack writes and keeps.
        run: sockets; short, so that they fit whatever the path of the checkout.
    """

    root: Path
    var: Path
    run: Path
    models: Path

    @property
    def secrets(self) -> Path:
        """Credentials: folder 0700, files 0600."""
        return self.var / "secrets"

    @property
    def logs(self) -> Path:
        """One log file a process."""
        return self.var / "log"

    @property
    def kept_replica_logs(self) -> Path:
        """What replicas wrote, kept when the stack is stopped."""
        return self.logs / "replica"

    @property
    def traces(self) -> Path:
        """OTLP-JSON lines, where no collector is configured."""
        return self.var / "traces"

    @property
    def nats(self) -> Path:
        """The broker's store."""
        return self.var / "nats"

    @property
    def nats_store(self) -> Path:
        """What the broker keeps between two runs."""
        return self.nats / "store"

    @property
    def nats_conf(self) -> Path:
        """The broker's configuration; it holds passwords."""
        return self.secrets / "nats.conf"

    @property
    def torch_cache(self) -> Path:
        """What torch has compiled, where vLLM's own cache does not hold it."""
        return self.var / "torch"

    @property
    def haproxy(self) -> Path:
        """HAProxy's configuration, maps and servers as last applied."""
        return self.var / "haproxy"

    @property
    def served_certificate(self) -> Path:
        """What HAProxy serves, where it speaks TLS; it holds the private key."""
        return self.haproxy / "certificate.pem"

    @property
    def prometheus_conf(self) -> Path:
        """The configuration for a Prometheus that scrapes this stack."""
        return self.var / "prometheus.yml"

    @property
    def record(self) -> Path:
        """What `up` decided: ports and identity of the stack."""
        return self.var / "stack.json"

    @property
    def supervisor_conf(self) -> Path:
        """The configuration of supervisord."""
        return self.var / "supervisord.conf"

    @property
    def supervisor_socket(self) -> Path:
        """Where supervisord listens."""
        return self.run / "supervisor.sock"

    @property
    def ray_temp(self) -> Path:
        """Ray's session folders, with its sockets."""
        return self.run / "ray"

    @property
    def replica_sockets(self) -> Path:
        """Where replicas listen: sockets that this user alone can connect to."""
        return self.run / "replicas"

    def credentials(self, user: str) -> Path:
        """Where one NATS user's credentials lie."""
        return self.secrets / f"nats-{user}.json"

    @property
    def ray_token(self) -> Path:
        """The token that Ray's own calls carry."""
        return self.secrets / "ray-token"


def layout(*, root: Path, var: Path | None, models: Path | None, user_id: int) -> Layout:
    """Choose the folders; `var` defaults to the checkout's own.

    The run folder lies inside `var` where sockets fit there, else in /tmp under a name made of
    the user and of the path of `var`.
    """
    base = (var or root / "var").absolute()
    inside = base / "run"
    fits = len(str(inside / _LONGEST_SOCKET).encode()) <= SOCKET_PATH_BYTES_MAX
    digest = hashlib.sha256(str(base).encode()).hexdigest()[:8]
    run = inside if fits else Path("/tmp") / f"sluice-{user_id}-{digest}"  # noqa: S108 - sockets must be short
    return Layout(root=root, var=base, run=run, models=(models or base / "models").absolute())
