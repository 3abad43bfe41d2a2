"""Ends vLLM's engine core when the process that started it is gone.

The engine core is a child process that waits for requests for ever. A replica that is killed cannot
end it, and it would hold its memory and its devices. vLLM loads the entry points of
`vllm.general_plugins` in each of its processes, so the watch starts there.

The kernel ends a process that is stopped or stuck as well, once the thread that started it is gone;
a thread here does the same where the parent is another process than the one that was asked to start
it. Source: prctl(2), PR_SET_PDEATHSIG.
"""

from __future__ import annotations

import ctypes
import os
import signal
import threading
from multiprocessing import parent_process
from multiprocessing.connection import wait

_PR_SET_PDEATHSIG = 1
_THREAD_NAME = "sluice-parent-watch"


def watch_parent() -> None:
    """Kill this process as soon as the process that spawned it has ended; safe to repeat.

    Does nothing in a process that `multiprocessing` did not start. The engine core's own driver
    connection to Ray ends with it, and Ray then ends its workers.
    """
    parent = parent_process()
    is_watched = any(thread.name == _THREAD_NAME for thread in threading.enumerate())
    if parent is None or is_watched:
        return
    if os.getppid() == parent.pid:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    threading.Thread(
        target=_end_after, args=(parent.sentinel,), name=_THREAD_NAME, daemon=True
    ).start()


def _end_after(sentinel: int) -> None:
    wait([sentinel])
    os.kill(os.getpid(), signal.SIGKILL)
