"""What starting a stack takes, whichever it is: an environment, a process group, patience.

Linux shares a CPU among sessions before it shares it among their processes, so all processes of a
stack run in one session, HAProxy too: the one of this command, which does nothing meanwhile, or
supervisord's.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import httpx

from libs.engine.arguments import engine_environment
from libs.engine.engine_folder import FOLDER_VARIABLE, remove_dead
from libs.errors import ControlPlaneError
from tools.bench.compare.stacks.port import Setup
from tools.cli.stack.processes import STACK_ID_VARIABLE, end_all
from tools.cli.stack.programs import inherited

_POLL_S: Final = 0.2
_HTTP_S: Final = 10.0
_GRACE_S: Final = 15.0
_SHOWN_CHARACTERS: Final = 300


class StackFailedError(ControlPlaneError):
    """A stack of the comparison did not start."""


def environment(setup: Setup, stack_id: str, *, packages: Sequence[Path] = ()) -> dict[str, str]:
    """Return what every process of a peer gets; `packages` are import folders beside ours.

    Its sockets, and notes of its shared memory, go into `setup.folder`; `end` removes them.
    """
    scratch = setup.folder / f"sluice-{stack_id[:8]}"
    scratch.mkdir(mode=0o700, exist_ok=True)
    folders = [setup.root, setup.root / "libs" / "engine" / "plugin", *packages]
    kept = [part for part in os.environ.get("PYTHONPATH", "").split(":") if part]
    return {
        **inherited(os.environ),
        **engine_environment(setup.spec, is_local=True),
        STACK_ID_VARIABLE: stack_id,
        FOLDER_VARIABLE: str(scratch),
        "TMPDIR": str(scratch),
        # vLLM writes its title over the environment, and with it over the mark, without this.
        "SPT_NOENV": "1",
        "PYTHONPATH": ":".join(dict.fromkeys([*map(str, folders), *kept])),
    }


def launch(
    command: Sequence[str], *, env: Mapping[str, str], folder: Path, log_file: Path
) -> subprocess.Popen[bytes]:
    """Start a program in a process group of its own, with its output in a file."""
    with log_file.open("ab") as log:
        return subprocess.Popen(
            command,
            env=dict(env),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            process_group=0,
        )


def end(started: Sequence[subprocess.Popen[bytes]], stack_id: str, *, folder: Path) -> None:
    """End a stack's first processes, then all that carry its mark, and wait for them.

    What they have left in its folder and in shared memory goes with them.
    """
    for each in started:
        each.terminate()
    for each in started:
        with suppress(subprocess.TimeoutExpired):
            each.wait(_GRACE_S)
    end_all(stack_id, grace_s=_GRACE_S)
    for each in started:
        with suppress(ProcessLookupError):
            os.killpg(each.pid, signal.SIGKILL)
        each.wait()
    remove_dead(folder)


class Patience:
    """Waits for a stack's parts until its time is over."""

    def __init__(self, setup: Setup, started: Sequence[subprocess.Popen[bytes]]) -> None:
        self._deadline_s = time.monotonic() + setup.timeout_s
        self._log_file = setup.log_file
        self._started = started

    def until(self, what: str, ready: Callable[[], bool]) -> None:
        """Ask again and again until the answer is yes.

        Raises:
            StackFailedError: a program ended, or the time is over.
        """
        while not ready():
            if any(each.poll() is not None for each in self._started):
                raise StackFailedError(f"{what}: a program ended; {self._said()}")
            if time.monotonic() > self._deadline_s:
                raise StackFailedError(f"{what} took too long; {self._said()}")
            time.sleep(_POLL_S)

    def _said(self) -> str:
        lines = self._log_file.read_text(errors="replace").strip().splitlines()
        last = lines[-1][:_SHOWN_CHARACTERS] if lines else "it printed nothing"
        return f"see {self._log_file}: {last}"


def healthy(url: str) -> bool:
    """Tell whether a URL answers with success."""
    try:
        return httpx.get(url, timeout=_HTTP_S, trust_env=False).is_success
    except httpx.HTTPError:
        return False


def one_token(url: str, model: str) -> bool:
    """Tell whether a server answers a request of one token."""
    body = {"model": model, "prompt": "Hello", "max_tokens": 1}
    try:
        asked = httpx.post(f"{url}/v1/completions", json=body, timeout=_HTTP_S, trust_env=False)
    except httpx.HTTPError:
        return False
    return asked.is_success
