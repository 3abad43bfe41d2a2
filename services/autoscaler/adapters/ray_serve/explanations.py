"""What Ray Serve says of a deployment that does not come, in one line. Pure.

Serve's messages are sentences with a whole traceback behind them; of that the last exception is
what a person needs. Source: Ray 2.60, ray/serve/_private/deployment_state.py
(`record_replica_startup_failure`, `check_curr_status`, `handle_slow_startup`).
"""

from __future__ import annotations

import re
from typing import Final

from libs.errors.traces import last_exception

_PLAIN: Final = ("ReplicaFailedError",)
_TRACEBACK: Final = "Error:\n"
_NO_ROOM: Final = re.compile(r"to be scheduled\. .*?(Resources required for each replica: .*?)\. ")


def explain(message: str, *, failed: bool) -> str:
    """Return what went wrong; empty when a message tells of nothing wrong.

    `failed` says that the message is about a failure whatever it looks like.
    """
    no_room = _NO_ROOM.search(message.replace("\n", " "))
    if no_room is not None:
        return f"no room for a replica: {no_room[1][0].lower()}{no_room[1][1:]}"
    _, marker, trace = message.partition(_TRACEBACK)
    if marker or failed:
        return last_exception(trace or message, plain=_PLAIN)
    return ""
