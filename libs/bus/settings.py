"""How to reach the bus, and how patient to be."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from libs.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """One user's way in, as it stands in that user's file of mode 0600."""

    url: str
    user: str
    password: str

    def __repr__(self) -> str:
        """Leave the password out."""
        return f"Credentials(url={self.url!r}, user={self.user!r})"


@dataclass(frozen=True, slots=True, kw_only=True)
class BusSettings:
    """Where the bus is and every time limit towards it.

    Attributes:
        name: how this connection shows up in the server's monitoring.
        connect_timeout_s: how long one attempt to connect may take.
        request_timeout_s: how long one read or write may take, waiting for the connection included.
        redial_s: pause between attempts to connect; they never end.
        ping_interval_s: a server that leaves two of these unanswered counts as away.
        heartbeat_s: how often an idle view hears from the server; three missed are a re-read.
        resync_s: how often a view reads everything again, whatever it heard.
    """

    credentials: Credentials
    name: str = "sluice"
    connect_timeout_s: float = 2.0
    request_timeout_s: float = 2.0
    redial_s: float = 0.25
    ping_interval_s: float = 2.0
    heartbeat_s: float = 1.0
    resync_s: float = 30.0


def read_credentials(path: Path) -> Credentials:
    """Read a credentials file: a JSON object with `url`, `user` and `password`.

    Raises:
        UsageError: the file is missing, not readable or not of that form.
    """
    try:
        return TypeAdapter(Credentials).validate_json(path.read_bytes())
    except OSError as exc:
        raise UsageError(f"Cannot read the bus credentials {path}: {exc.strerror}.") from exc
    except ValidationError as exc:
        raise UsageError(f"{path} holds no bus credentials: url, user, password.") from exc
