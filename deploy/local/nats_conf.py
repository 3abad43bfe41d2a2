"""Renders nats-server's configuration file: loopback, JetStream, one user per service. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from libs.bus.permissions import PERMISSIONS, UserPermissions


@dataclass(frozen=True, slots=True, kw_only=True)
class NatsConf:
    """What differs between one server and the next.

    Attributes:
        port: TCP port on `host`.
        store_dir: JetStream's folder; created by the server.
        passwords: by user; every user of `libs.bus.permissions` needs one.
        host: loopback unless machines share the bus.
        file_store_max_mib: room for all buckets and streams.
    """

    port: int
    store_dir: str
    passwords: Mapping[str, str]
    host: str = "127.0.0.1"
    file_store_max_mib: int = 1024

    def __repr__(self) -> str:
        """Leave the passwords out."""
        return f"NatsConf(host={self.host!r}, port={self.port}, store_dir={self.store_dir!r})"


def render_nats_conf(conf: NatsConf) -> str:
    """Render `nats.conf`; the file holds passwords and must have mode 0600.

    Raises:
        KeyError: a user has no password.
    """
    users = ",\n".join(_user(entry, conf.passwords[entry.user]) for entry in PERMISSIONS)
    return f"""\
# Rendered by deploy/local/nats_conf.py. Holds passwords: mode 0600.
listen: {_text(f"{conf.host}:{conf.port}")}
max_payload: 1MB
max_connections: 4096
write_deadline: "5s"
jetstream {{
  store_dir: {_text(conf.store_dir)}
  max_memory_store: 64MB
  max_file_store: {conf.file_store_max_mib}MB
  # Acknowledged writes must survive a power cut.
  sync_interval: always
}}
authorization {{
  timeout: 2
  users: [
{users}
  ]
}}
"""


def render_credentials(url: str, user: str, password: str) -> str:
    """Render one user's credentials file; mode 0600 as well."""
    return json.dumps({"url": url, "user": user, "password": password}, indent=2) + "\n"


def _user(entry: UserPermissions, password: str) -> str:
    return (
        f"    {{ user: {_text(entry.user)}, password: {_text(password)}, permissions: {{\n"
        f"      publish: {{ allow: {_texts(entry.publish)} }},\n"
        f"      subscribe: {{ allow: {_texts(entry.subscribe)} }}\n"
        f"    }} }}"
    )


def _text(value: str) -> str:
    return json.dumps(value)


def _texts(values: Sequence[str]) -> str:
    return json.dumps(list(values))
