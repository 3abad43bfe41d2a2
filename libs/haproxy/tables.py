"""Pure parsers of what HAProxy shows: facts, counters, server states and maps.

Columns are found by name, so that a newer HAProxy may add some.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from typing import Final

from libs.errors import TerminalError
from libs.haproxy.commands import AdminState

_DRAIN_BITS: Final = 0x08 | 0x10
_MAINT_BITS: Final = 0x01 | 0x02 | 0x04 | 0x20 | 0x40
_CHECK_ENABLED_BIT: Final = 0x04
_OPERATIONAL_STOPPED: Final = 0
_RESULT_UNKNOWN: Final = 0
_NO_ADDRESS: Final = "-"
_HOLDS_HEAD: Final = "# pool held"
_MAP_LINE: Final = re.compile(r"-?\d+ \((.*?)\) .*curr_ver=(\d+) next_ver=\d+ entry_cnt=(\d+)")


class UnreadableReplyError(TerminalError):
    """HAProxy's reply does not have the expected columns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Info:
    """The running program.

    Attributes:
        dropped_logs: log lines that nobody took in time, since HAProxy started.
        description: what its configuration says of itself; empty where it says nothing.
    """

    version: str
    pid: int
    uptime_s: int
    dropped_logs: int
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerState:
    """One server as `show servers state` tells it.

    Attributes:
        host: None for a server on a unix socket, whose path HAProxy does not show.
        port: None for the same servers.
        up: the operational state; None while no check has said anything yet.
        checked: health checks are enabled.
    """

    pool: str
    name: str
    number: int
    host: str | None
    port: int | None
    admin: AdminState
    up: bool | None
    checked: bool
    weight: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stat:
    """One line of `show stat`: a pool (`server` is None) or one of its servers.

    Attributes:
        queued: requests waiting in front of it now.
        sessions: requests on it now.
        maxconn: its limit of requests at once; None where none is set.
        refused_count: requests that found no server in time, since HAProxy started.
    """

    pool: str
    server: str | None
    queued: int
    sessions: int
    maxconn: int | None
    refused_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MapInfo:
    """A map's version and size: equal values mean that nobody changed it by a commit."""

    file: str
    version: int
    entries: int


def parse_info(text: str) -> Info:
    """Read `show info`.

    Raises:
        UnreadableReplyError: a needed line is missing.
    """
    lines = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)
    try:
        return Info(
            version=lines["Version"],
            pid=int(lines["Pid"]),
            uptime_s=int(lines["Uptime_sec"]),
            dropped_logs=int(lines["DroppedLogs"]),
            description=lines.get("description", ""),
        )
    except (KeyError, ValueError) as exc:
        raise UnreadableReplyError(missing=str(exc), text=text[:200]) from exc


def parse_servers_state(text: str) -> tuple[ServerState, ...]:
    """Read `show servers state`: a format version, then a commented header, then the servers.

    Raises:
        UnreadableReplyError: a column is missing.
    """
    lines = (line.removeprefix("# ") for line in text.splitlines() if line)
    next(lines, "")
    try:
        return tuple(_server_state(row) for row in _rows(lines, _STATE_COLUMNS, separator=" "))
    except (KeyError, ValueError, IndexError) as exc:
        raise UnreadableReplyError(missing=str(exc), text=text[:200]) from exc


def parse_stat(text: str) -> tuple[Stat, ...]:
    """Read `show stat -1 6 -1`: pools and servers, as comma-separated values with a header.

    Raises:
        UnreadableReplyError: a column is missing.
    """
    lines = (line.removeprefix("# ") for line in text.splitlines() if line)
    try:
        return tuple(_stat(row) for row in _rows(lines, _STAT_COLUMNS, separator=","))
    except (KeyError, ValueError, IndexError) as exc:
        raise UnreadableReplyError(missing=str(exc), text=text[:200]) from exc


def parse_maps(text: str) -> tuple[MapInfo, ...]:
    """Read `show map`: one line for each map, after a header."""
    found = (_MAP_LINE.match(line) for line in text.splitlines())
    return tuple(
        MapInfo(file=line[1], version=int(line[2]), entries=int(line[3])) for line in found if line
    )


def parse_map(text: str) -> tuple[tuple[str, str], ...]:
    """Read `show map <file>`: a pointer, the key, and the value up to the end of the line."""
    rows = (line.split(" ", 2) for line in text.splitlines() if line.startswith("0x"))
    return tuple((row[1], row[2] if len(row) > 2 else "") for row in rows)  # noqa: PLR2004


def parse_holds(text: str) -> dict[str, int] | None:
    """Read `show holds`: held requests by pool, after a header; pools that hold none are left out.

    None is unknown: this HAProxy does not know the command, because it holds nothing.
    """
    head, *rows = text.splitlines() or [""]
    if head != _HOLDS_HEAD:
        return None
    pairs = (row.rpartition(" ") for row in rows if row)
    return {pool: int(count) for pool, _, count in pairs if count.isdecimal()}


@lru_cache(maxsize=8192)
def _server_state(row: tuple[str, ...]) -> ServerState:
    """Build what is nearly always as it was a second before; `row` is as `_STATE_COLUMNS`."""
    pool, name, number, host, port, admin_bits, operational, check_result, check_bits, weight = row
    return ServerState(
        pool=pool,
        name=name,
        number=int(number),
        host=None if host == _NO_ADDRESS else host,
        port=None if host == _NO_ADDRESS else int(port),
        admin=_admin(int(admin_bits)),
        up=_up(int(operational), int(check_result)),
        checked=bool(int(check_bits) & _CHECK_ENABLED_BIT),
        weight=int(weight),
    )


def _admin(bits: int) -> AdminState:
    if bits & _MAINT_BITS:
        return AdminState.MAINT
    return AdminState.DRAIN if bits & _DRAIN_BITS else AdminState.READY


def _up(operational: int, check_result: int) -> bool | None:
    if operational == _OPERATIONAL_STOPPED:
        return False
    return None if check_result == _RESULT_UNKNOWN else True


def _rows(
    lines: Iterator[str], columns: tuple[str, ...], *, separator: str
) -> Iterator[tuple[str, ...]]:
    """Read rows below a header, and of each only some columns: a thousand come every second."""
    header = next(lines, "").split(separator)
    indices = [header.index(name) for name in columns]
    # The last columns that are needed stand far before the end: what follows stays in one piece.
    cuts = 1 + max(indices)
    wanted = itemgetter(*indices)
    return (wanted(line.split(separator, cuts)) for line in lines)


_STAT_COLUMNS: Final = ("pxname", "svname", "qcur", "scur", "slim", "econ")
_STATE_COLUMNS: Final = (
    *("be_name", "srv_name", "srv_id", "srv_addr", "srv_port", "srv_admin_state"),
    *("srv_op_state", "srv_check_result", "srv_check_state", "srv_uweight"),
)


@lru_cache(maxsize=8192)
def _stat(row: tuple[str, ...]) -> Stat:
    """Build what is often as it was a second before; `row` is as `_STAT_COLUMNS`."""
    pool, name, queued, sessions, limit, refused = row
    is_pool = name == "BACKEND"
    return Stat(
        pool=pool,
        server=None if is_pool else name,
        queued=int(queued),
        sessions=int(sessions),
        maxconn=int(limit) if limit and not is_pool else None,
        refused_count=int(refused),
    )
