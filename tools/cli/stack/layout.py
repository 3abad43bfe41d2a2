"""Where everything of a stack lies on this machine (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from deploy.local.places import run_folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The folders and files of one stack.

    Attributes:
        root: the checkout, which is also the import root.
        var: what the stack writes and keeps when it is stopped.
        run: what it needs while it runs: sockets, credentials, what identifies it. Short, so that
            sockets fit, and outside `var`, so that a stack survives the removal of `var`.
    """

    root: Path
    var: Path
    run: Path
    models: Path

    @property
    def secrets(self) -> Path:
        """Credentials and environments: folder 0700, files 0600; a start makes them anew."""
        return self.run / "secrets"

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
        return self.run / "stack.json"

    @property
    def supervisor_conf(self) -> Path:
        """The configuration of supervisord."""
        return self.run / "supervisord.conf"

    @property
    def supervisor_launch(self) -> Path:
        """With what environment supervisord is started, and started again."""
        return self.secrets / "supervisord.json"

    @property
    def supervisor_log(self) -> Path:
        """What supervisord says."""
        return self.logs / "supervisor.log"

    @property
    def launches(self) -> Path:
        """What each program is started with; environments may hold secrets."""
        return self.secrets / "programs"

    def log_file(self, program: str) -> Path:
        """Where a program writes."""
        return self.logs / f"{program}.log"

    @property
    def pids(self) -> Path:
        """The identities of the programs' processes."""
        return self.run / "pids"

    def pid_file(self, program: str) -> Path:
        """Where the identity of one program's process is kept."""
        return self.pids / f"{program}.json"

    @property
    def work(self) -> Path:
        """The programs' working folder, which holds nothing."""
        return self.run / "work"

    @property
    def hub_token(self) -> Path:
        """The token for a model hub; for those that fetch models alone."""
        return self.secrets / "hub-token"

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
    """Choose the folders; `var` defaults to the checkout's own."""
    base = (var or root / "var").absolute()
    return Layout(
        root=root,
        var=base,
        run=run_folder(base, user_id=user_id),
        models=(models or base / "models").absolute(),
    )
