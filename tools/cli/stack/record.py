"""What `up` decided about a stack: identity and ports, kept for every later command."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from libs.contracts.exposure import Listener
from libs.errors import UsageError

_EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1", "*": "127.0.0.1"}  # noqa: S104 - compared, not bound
"""Where this machine finds what listens on every address."""


class NoStackError(UsageError):
    """Sluice is not running here; start it with `./sluice up`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StackRecord:
    """One stack.

    Attributes:
        stack_id: stands in the environment of every process of the stack, so that `down`
            finds each of them.
        started_at: Unix time in seconds.
        tls_certificate: the PEM file that the API's TLS follows; None where it speaks HTTP.
        metrics_port: where router-config's own metrics are; 0 for nowhere.
        complete: whether its start has come to its end; a command that died in between leaves it
            false.
    """

    stack_id: str
    started_at: float
    api_host: str
    api_port: int
    stats_port: int
    nats_port: int
    ray_port: int
    ray_agent_port: int
    dashboard_port: int
    metrics_port: int = 0
    tls_certificate: str | None = None
    complete: bool = False

    @property
    def listener(self) -> Listener:
        """Where the API listens."""
        return Listener(host=self.api_host, encrypted=self.tls_certificate is not None)

    @property
    def api_url(self) -> str:
        """Where clients on this machine send requests."""
        scheme = "https" if self.listener.encrypted else "http"
        host = _EVERYWHERE.get(self.api_host, self.api_host)
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{self.api_port}"

    @property
    def nats_url(self) -> str:
        """Where services find the broker."""
        return f"nats://127.0.0.1:{self.nats_port}"

    @property
    def ray_address(self) -> str:
        """Where Ray's processes find the cluster."""
        return f"127.0.0.1:{self.ray_port}"

    @property
    def dashboard_url(self) -> str:
        """Ray's REST interface."""
        return f"http://127.0.0.1:{self.dashboard_port}"


def save(record: StackRecord, path: Path) -> None:
    """Write the record, replacing the file in one step."""
    write_private(path, json.dumps(asdict(record), indent=2) + "\n")


def load(path: Path) -> StackRecord | None:
    """Read the record; None when there is none.

    Raises:
        UsageError: the file is not a record of this version.
    """
    try:
        return StackRecord(**json.loads(path.read_text()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as exc:
        message = f"{path} is damaged; `./sluice down` stops what runs and removes it"
        raise UsageError(message) from exc


def load_or_none(path: Path) -> StackRecord | None:
    """Read the record; None as well where it is damaged, for those that end what it describes."""
    try:
        return load(path)
    except UsageError:
        return None


def require(path: Path) -> StackRecord:
    """Read the record of a running stack.

    Raises:
        NoStackError: there is none.
    """
    record = load(path)
    if record is None:
        raise NoStackError
    return record


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, replacing it in one step."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    scratch = path.with_name(path.name + ".new")
    with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
        out.write(text)
    scratch.chmod(0o600)
    scratch.replace(path)
