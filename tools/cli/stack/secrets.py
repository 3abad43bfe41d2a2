"""Write what only a stack's owner may read: random credentials, and its programs' environments."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import asdict
from typing import Final

from deploy.local.nats_conf import NatsConf, render_credentials, render_nats_conf
from deploy.local.supervisord_conf import Program, launch_of
from libs.bus.permissions import USERS
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
    private = (layout.secrets, layout.launches, layout.pids, layout.work, layout.ray_temp)
    for folder in private:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)


def write_nats_configuration(layout: Layout, record: StackRecord) -> None:
    """Write the broker's configuration and the users' credentials; each start has new passwords."""
    passwords = {user: secrets.token_urlsafe(_TOKEN_BYTES) for user in USERS}
    for user, password in passwords.items():
        text = render_credentials(record.nats_url, user, password)
        write_private(layout.credentials(user), text)
    conf = NatsConf(port=record.nats_port, store_dir=str(layout.nats_store), passwords=passwords)
    write_private(layout.nats_conf, render_nats_conf(conf))


def write_launches(layout: Layout, programs: Sequence[Program]) -> None:
    """Write what each program is started with."""
    for program in programs:
        launch = launch_of(program, pid_file=layout.pid_file(program.name))
        write_private(layout.launches / f"{program.name}.json", json.dumps(asdict(launch)))


def write_hub_token(layout: Layout, token: str | None) -> None:
    """Write the token with which replicas fetch models from a hub; None writes nothing."""
    if token:
        write_private(layout.hub_token, token)
