"""Make a stack's credentials: random, in files that only their owner can read."""

from __future__ import annotations

import secrets
from typing import Final

from tools.cli.stack.layout import Layout
from tools.cli.stack.record import write_private

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
