"""The trivial server as a process beside the generator: what the generator alone can do."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from libs.errors import PeerUnreachableError

STEP_MS: Final = 2
_ROOT: Final = Path(__file__).resolve().parents[3]


@contextmanager
def trivial_server(step_ms: float = STEP_MS) -> Iterator[str]:
    """Run the server while the body runs; yield its URL.

    Raises:
        PeerUnreachableError: it did not start.
    """
    server = subprocess.Popen(
        [sys.executable, "-m", "tools.bench.load.trivial_server", str(step_ms)],
        cwd=_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    # Leaving closes the server's standard input, which ends it, and waits.
    with server:
        port = server.stdout.readline().strip() if server.stdout else ""
        if not port:
            raise PeerUnreachableError("the trivial server did not start")
        yield f"http://127.0.0.1:{port}"
