"""Run `ray start --head --block`, but restart what no replica needs, and let little poll.

Ray's own program ends the whole node, its replicas included, as soon as any of its processes has
died. But the GCS keeps what it knows on disk (`gcs_storage=rocksdb`), workers wait for it for ten
minutes, and the dashboard keeps nothing: these two alone come back, and everything else goes on.
When the raylet exits in order, as it does once one of its agents has died, Ray's program keeps
running without it. Here the node ends as well, and its supervisor starts a new one.

`ray start` has no option against the server for Ray Client, and loads all or none of the
dashboard's modules, each a process; here only those start that are used.

Run it with the words of `ray`: `python -m deploy.local.kept_ray start --head --block ...`.
Source: ray 2.60, `start` in ray/scripts/scripts.py, `Node` in ray/_private/node.py and
`start_api_server` in ray/_private/services.py; ADR-0010, ADR-0016.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any, ClassVar, Final, Never

from ray._private import node as ray_node
from ray._private import services as ray_services
from ray._private.ray_constants import (
    PROCESS_TYPE_DASHBOARD,
    PROCESS_TYPE_GCS_SERVER,
    PROCESS_TYPE_RAYLET,
)
from ray._private.services import ProcessInfo, start_ray_process
from ray.scripts.scripts import main as ray_command

from deploy.local.ray_at_rest import DASHBOARD_MODULES
from deploy.local.ray_head import GCS_STORE_VARIABLE, is_ray_stop, may_restart

_RESTARTED: Final = {PROCESS_TYPE_GCS_SERVER, PROCESS_TYPE_DASHBOARD}

_Dead = list[tuple[str, subprocess.Popen[bytes]]]


class KeptNode(ray_node.Node):
    """A node whose GCS and dashboard may die, and that does not wait for Ray Client.

    `ray start --block` asks once a second for the processes that have died, and ends the node when
    there are any: one that was started again is not among them.
    """

    _restarts: ClassVar[defaultdict[str, tuple[float, ...]]] = defaultdict(tuple)

    def dead_processes(self) -> _Dead:
        """Return what has died; what can be is restarted instead, unless it dies too often.

        Raises:
            SystemExit: the raylet is gone, and Ray's program would keep running without it.
        """
        dead: _Dead = super().dead_processes()
        for kind, died in dead:
            if kind == PROCESS_TYPE_RAYLET and is_ray_stop(died.returncode):
                self._end_without_raylet(died.returncode)
        return [(kind, died) for kind, died in dead if not self._is_restarted(kind, died)]

    def start_ray_client_server(self) -> None:
        """Leave it out: drivers on other machines (`ray://`) are not served here."""

    def _end_without_raylet(self, code: int) -> Never:
        print(f"the raylet ended with code {code}, so the node ends too", flush=True)
        self.kill_all_processes(check_alive=False, allow_graceful=False)
        sys.exit(1)

    def _is_restarted(self, kind: str, died: subprocess.Popen[bytes]) -> bool:
        now = time.monotonic()
        if kind not in _RESTARTED or not may_restart(self._restarts[kind], now=now):
            return False
        self._restarts[kind] = (*self._restarts[kind], now)
        self.all_processes[kind] = [
            start_ray_process(
                died.args,
                kind,
                fate_share=self.kernel_fate_share,
                stdout_file=subprocess.DEVNULL,  # it writes its own log files
                stderr_file=subprocess.DEVNULL,
                env_updates=own_folder(kind),
            )
        ]
        print(f"the {kind} ended with code {died.returncode} and was started again", flush=True)
        return True


def start_process(command: list[str], kind: str, **options: Any) -> ProcessInfo:  # noqa: ANN401 - Ray's
    """Start a process of the node as Ray does; the dashboard loads only the modules in use."""
    if kind == PROCESS_TYPE_DASHBOARD:
        command = [*command, f"--modules-to-load={','.join(DASHBOARD_MODULES)}"]
        options["env_updates"] = {**(options.get("env_updates") or {}), **own_folder(kind)}
    return start_ray_process(command, kind, **options)


def own_folder(kind: str) -> dict[str, str]:
    """Give the dashboard an empty folder of its own: a killed one leaves a socket in it."""
    if kind != PROCESS_TYPE_DASHBOARD:
        return {}
    folder = Path(os.environ[GCS_STORE_VARIABLE]).with_name("ray-dashboard")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    return {"TMPDIR": str(folder)}


def main() -> None:
    """Start the node as `ray start` does; it never takes over what an earlier node had stored."""
    store = Path(os.environ[GCS_STORE_VARIABLE])
    shutil.rmtree(store, ignore_errors=True)
    store.mkdir(parents=True, mode=0o700)
    ray_node.Node = KeptNode
    ray_services.start_ray_process = start_process
    sys.exit(ray_command())


if __name__ == "__main__":
    main()
