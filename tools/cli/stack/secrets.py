"""Make a stack's credentials: random, in files that only their owner can read."""

from __future__ import annotations

import secrets
from typing import Final

from deploy.local.nats_conf import NatsConf, render_credentials, render_nats_conf
from libs.bus.permissions import USERS
from libs.bus.settings import read_credentials
from tools.cli.stack.layout import Layout
from tools.cli.stack.record import StackRecord, write_private

_TOKEN_BYTES: Final = 32


def make_ray_token(layout: Layout) -> None:
    """Make the token that every call to Ray carries; an existing one is kept."""
    if not layout.ray_token.exists():
        write_private(layout.ray_token, secrets.token_hex(_TOKEN_BYTES))


def make_folders(layout: Layout) -> None:
    """Make the stack's folders; secrets and sockets are for their owner alone."""
    for folder in (layout.var, layout.logs, layout.traces, layout.nats, layout.haproxy):
        folder.mkdir(parents=True, exist_ok=True)
    layout.models.mkdir(parents=True, exist_ok=True)
    for folder in (layout.secrets, layout.run, layout.ray_temp):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.chmod(0o700)


def write_nats_configuration(layout: Layout, record: StackRecord) -> None:
    """Write the broker's configuration and the users' credentials; passwords are kept."""
    passwords = {user: _password(layout, user) for user in USERS}
    for user, password in passwords.items():
        text = render_credentials(record.nats_url, user, password)
        write_private(layout.credentials(user), text)
    conf = NatsConf(port=record.nats_port, store_dir=str(layout.nats_store), passwords=passwords)
    write_private(layout.nats_conf, render_nats_conf(conf))


def _password(layout: Layout, user: str) -> str:
    path = layout.credentials(user)
    return read_credentials(path).password if path.exists() else secrets.token_urlsafe(_TOKEN_BYTES)
