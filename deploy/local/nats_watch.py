"""Starts a machine's NATS again when it cannot write although there is room on the disk.

Run it beside supervisord, which starts what was killed:
`python -m deploy.local.nats_watch CREDENTIALS STORE_DIR SUPERVISOR_SOCKET PROGRAM`.
Decision: ADR-0018.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xmlrpc.client import Error, ServerProxy

from supervisor.xmlrpc import SupervisorTransport

from deploy.local.nats_health import (
    Health,
    after_look,
    after_probe,
    after_restart,
    is_probe_due,
    is_restart_due,
)
from libs.bus.settings import BusSettings, read_credentials
from libs.bus.write_probe import failing_streams
from libs.errors import PeerUnreachableError
from libs.telemetry.logging import configure_logging, get_logger

LOOK_S: Final = 2.0
"""How often the disk's room is looked at."""

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """The server that is watched, and who keeps it running."""

    settings: BusSettings
    store_dir: Path
    supervisor_socket: Path
    program: str


def main() -> None:
    """Watch until killed."""
    configure_logging(service="nats-watch")
    watched = _watched()
    health = Health()
    while True:
        health = look(health, watched)
        time.sleep(LOOK_S)


def look(health: Health, watched: Watched) -> Health:
    """Look at the disk once, try writes if they are due, and start the server again if it must."""
    try:
        free_bytes = shutil.disk_usage(watched.store_dir).free
    except OSError:
        return health  # without a store there is nothing to write to; `up` makes it
    health = after_look(health, free_bytes=free_bytes)
    if not is_probe_due(health, free_bytes=free_bytes, now=time.monotonic()):
        return health
    failing = _failing(watched.settings, facts=health.suspected)
    health = after_probe(
        health, is_failing=None if failing is None else bool(failing), now=time.monotonic()
    )
    if not is_restart_due(health, now=time.monotonic()):
        return health
    _log.error("nats_restarted", failing=failing, free_bytes=free_bytes)
    _kill(watched)
    return after_restart(health, now=time.monotonic())


def _failing(settings: BusSettings, *, facts: bool) -> tuple[str, ...] | None:
    try:
        return asyncio.run(failing_streams(settings, facts=facts))
    except PeerUnreachableError:
        return None


def _kill(watched: Watched) -> None:
    """Have supervisord kill its own child, which it then starts again.

    SIGTERM would end it with code 0, after which supervisord leaves it ended.
    """
    transport = SupervisorTransport(None, None, f"unix://{watched.supervisor_socket}")
    try:
        with ServerProxy("http://127.0.0.1", transport=transport, allow_none=True) as server:
            server.supervisor.signalProcess(watched.program, "KILL")
    except (Error, OSError) as exc:
        _log.error("nats_not_restarted", error=str(exc))


def _watched() -> Watched:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("credentials", "store_dir", "supervisor_socket"):
        parser.add_argument(name, type=Path)
    parser.add_argument("program")
    said = parser.parse_args()
    return Watched(
        settings=BusSettings(credentials=read_credentials(said.credentials), name="nats-watch"),
        store_dir=said.store_dir,
        supervisor_socket=said.supervisor_socket,
        program=said.program,
    )


if __name__ == "__main__":
    main()
