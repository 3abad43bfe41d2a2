"""Restart a machine's NATS when its writes fail although the disk has room.

It runs under the same supervisord as NATS, which restarts a killed program:
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
"""Interval between two checks of the disk, in seconds."""

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """The watched server and its supervisord."""

    settings: BusSettings
    store_dir: Path
    supervisor_socket: Path
    program: str


def main() -> None:
    """Watch until killed."""
    configure_logging(service="nats-watch", level="warning")
    watched = _watched()
    health = Health()
    while True:
        health = look(health, watched)
        time.sleep(LOOK_S)


def look(health: Health, watched: Watched) -> Health:
    """Check the disk once, probe writes if that is due, and restart the server if needed."""
    try:
        free_bytes = shutil.disk_usage(watched.store_dir).free
    except OSError:
        return health  # no store yet
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
    """Let supervisord kill its child; supervisord then starts it again.

    Every acknowledged write is synced, so SIGKILL loses nothing.
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
