"""A HAProxy without traffic: its runtime API on a unix socket, with the replies of the real one.

`tests/contract/haproxy` runs one suite against this and against HAProxy 2.8.
"""

from __future__ import annotations

import asyncio
import itertools
import shlex
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

_STATE_COLUMNS: Final = (
    "be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight"
    " srv_time_since_last_change srv_check_status srv_check_result srv_check_health"
    " srv_check_state srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord"
    " srv_use_ssl srv_check_port srv_check_addr srv_agent_addr srv_agent_port"
)
_STAT_COLUMNS: Final = (
    "# pxname,svname,qcur,qmax,scur,smax,slim,stot,bin,bout,dreq,dresp,ereq,econ,eresp,"
)
_ADMIN_BITS: Final = {"ready": 0, "maint": 1, "drain": 8}
_CHECK_CONFIGURED: Final = 2
_CHECK_ENABLED: Final = 4
_WEIGHT_MAX: Final = 256


@dataclass(slots=True, kw_only=True)
class FakeServer:
    """One server; a test may set what traffic and checks would.

    Attributes:
        up: what checks say; None while none has run.
        sessions: requests on it now.
    """

    number: int
    host: str
    port: int
    weight: int
    maxconn: int
    admin: str = "maint"
    checked: bool = False
    up: bool | None = None
    sessions: int = 0
    queued: int = 0


@dataclass(slots=True, kw_only=True)
class FakeMap:
    """One map with the version that is served and those that are prepared."""

    entries: list[tuple[str, str]] = field(default_factory=list)
    version: int = 0
    last_prepared: int = 0
    prepared: dict[int, list[tuple[str, str]]] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class FakeHaproxy:
    """The state of one HAProxy and what its admin socket answers."""

    pools: tuple[str, ...] = ("lc0", "lc0-py", "lc1", "lc1-py", "px0", "px0-py")
    pid: int = 4242
    version: str = "2.8.25"
    servers: dict[tuple[str, str], FakeServer] = field(default_factory=dict)
    maps: dict[str, FakeMap] = field(
        default_factory=lambda: {
            name: FakeMap() for name in ("models.map", "listing.map", "tenants.map", "failing.map")
        }
    )
    refused: dict[str, int] = field(default_factory=dict)
    held: dict[str, int] = field(default_factory=dict)
    dropped_logs: int = 0

    def answer(self, text: str) -> str:
        """Run one line: commands separated by semicolons, or one with its payload."""
        line, _, payload = text.partition("\n")
        if payload:
            return self._run(line, payload)
        return "".join(self._run(command, "") for command in line.split(";"))

    def _run(self, line: str, payload: str) -> str:
        words = shlex.split(line.replace("<<", ""))
        for prefix, run in self._commands().items():
            if words[: len(prefix)] == list(prefix):
                return run(words[len(prefix) :], payload) + "\n"
        return f"Unknown command: {line!r}\n"

    def _commands(self) -> Mapping[tuple[str, ...], Callable[[list[str], str], str]]:
        return {
            ("add", "server"): self._add_server,
            ("enable", "health"): self._enable_health,
            ("set", "server"): self._set_server,
            ("set", "maxconn", "server"): self._set_maxconn,
            ("shutdown", "sessions", "server"): self._shutdown,
            ("del", "server"): self._del_server,
            ("prepare", "map"): self._prepare_map,
            ("add", "map"): self._add_map,
            ("commit", "map"): self._commit_map,
            ("set", "map"): self._set_map,
            ("del", "map"): self._del_map,
            ("show", "map"): self._show_map,
            ("show", "servers", "state"): self._show_servers_state,
            ("show", "stat"): self._show_stat,
            ("show", "info"): self._show_info,
            ("show", "holds"): self._show_holds,
        }

    def _add_server(self, words: list[str], _payload: str) -> str:
        pool, _, name = words[0].partition("/")
        if pool not in self.pools:
            return "No such backend."
        if (pool, name) in self.servers:
            return "Already exists a server with the same name in backend."
        options = dict(itertools.pairwise(words[2:]))
        number = int(options["id"])
        for (other_pool, other), server in self.servers.items():
            if other_pool == pool and server.number == number:
                return f"'id' : custom id {number} already used at (null):0 ('server {other}')."
        host, port = _shown_address(words[1])
        self.servers[pool, name] = FakeServer(
            number=number,
            host=host,
            port=port,
            weight=int(options["weight"]),
            maxconn=int(options["maxconn"]),
        )
        return "New server registered."

    def _named(self, ref: str) -> FakeServer | str:
        pool, _, name = ref.partition("/")
        if pool not in self.pools:
            return "No such backend."
        return self.servers.get((pool, name)) or "No such server."

    def _enable_health(self, words: list[str], _payload: str) -> str:
        server = self._named(words[0])
        if isinstance(server, str):
            return server
        server.checked = True
        return ""

    def _set_server(self, words: list[str], _payload: str) -> str:
        ref, what, value = words
        server = self._named(ref)
        if isinstance(server, str):
            return server
        if what == "state":
            server.admin = value
        elif int(value) > _WEIGHT_MAX:
            return "Absolute weight can only be between 0 and 256 inclusive."
        else:
            server.weight = int(value)
        return ""

    def _set_maxconn(self, words: list[str], _payload: str) -> str:
        server = self._named(words[0])
        if isinstance(server, str):
            return server
        server.maxconn = int(words[1])
        return ""

    def _shutdown(self, words: list[str], _payload: str) -> str:
        server = self._named(words[0])
        if isinstance(server, str):
            return server
        server.sessions = server.queued = 0
        return ""

    def _del_server(self, words: list[str], _payload: str) -> str:
        server = self._named(words[0])
        if isinstance(server, str):
            return server
        if server.admin != "maint":
            return "Only servers in maintenance mode can be deleted."
        if server.sessions:
            return "Server still has connections attached to it, cannot remove it."
        pool, _, name = words[0].partition("/")
        del self.servers[pool, name]
        return "Server deleted."

    def _prepare_map(self, words: list[str], _payload: str) -> str:
        if words[0] not in self.maps:
            return "Unknown map identifier. Please use #<id> or <file>."
        found = self.maps[words[0]]
        found.last_prepared += 1
        found.prepared[found.last_prepared] = []
        return f"New version created: {found.last_prepared}\n"

    def _add_map(self, words: list[str], payload: str) -> str:
        if not words[0].startswith("@"):
            return self._add_map_entry(*words)
        version, file = int(words[0].removeprefix("@")), words[1]
        entries = self.maps[file].prepared.get(version)
        if entries is None:
            return "Version number out of range."
        for line in payload.splitlines():
            if line:
                key, _, value = line.partition(" ")
                entries.append((key, value))
        return ""

    def _add_map_entry(self, file: str, key: str, value: str) -> str:
        if file not in self.maps:
            return "Unknown map identifier. Please use #<id> or <file>."
        self.maps[file].entries.append((key, value))
        return ""

    def _set_map(self, words: list[str], _payload: str) -> str:
        file, key, value = words
        return self._edit_map(file, key, [(key, value)], absent="entry not found.")

    def _del_map(self, words: list[str], _payload: str) -> str:
        file, key = words
        return self._edit_map(file, key, [], absent="Key not found.")

    def _edit_map(self, file: str, key: str, instead: list[tuple[str, str]], *, absent: str) -> str:
        if file not in self.maps:
            return "Unknown map identifier. Please use #<id> or <file>."
        found = self.maps[file]
        if key not in dict(found.entries):
            return absent
        found.entries = [kept for e in found.entries for kept in (instead if e[0] == key else [e])]
        return ""

    def _commit_map(self, words: list[str], _payload: str) -> str:
        version, file = int(words[0].removeprefix("@")), words[1]
        found = self.maps[file]
        if version not in found.prepared:
            return "Version number out of range."
        found.entries = found.prepared.pop(version)
        found.version = version
        return ""

    def _show_map(self, words: list[str], _payload: str) -> str:
        if words:
            if words[0] not in self.maps:
                return "Unknown map identifier. Please use #<id> or <file>."
            return "".join(f"0x{1:x} {k} {v}\n" for k, v in self.maps[words[0]].entries)
        head = "# id (file) description\n"
        return head + "".join(
            f"{index} ({file}) pattern loaded from file '{file}' used by map at file 'base.cfg'"
            f" line 1. curr_ver={found.version} next_ver={found.last_prepared}"
            f" entry_cnt={len(found.entries)}\n"
            for index, (file, found) in enumerate(self.maps.items())
        )

    def _show_servers_state(self, _words: list[str], _payload: str) -> str:
        rows = (_state_row(pool, name, server) for (pool, name), server in self.servers.items())
        return _table(f"1\n# {_STATE_COLUMNS}", rows)

    def _show_stat(self, _words: list[str], _payload: str) -> str:
        rows = [
            f"{pool},{name},{s.queued},0,{s.sessions},0,{s.maxconn},0,0,0,,0,,0,0,"
            for (pool, name), s in self.servers.items()
        ]
        rows += [
            f"{pool},BACKEND,0,0,0,0,200,0,0,0,0,0,,{self.refused.get(pool, 0)},0,"
            for pool in self.pools
        ]
        return _table(_STAT_COLUMNS, rows)

    def _show_holds(self, _words: list[str], _payload: str) -> str:
        return _table("# pool held", (f"{pool} {count}" for pool, count in self.held.items()))

    def _show_info(self, _words: list[str], _payload: str) -> str:
        return (
            f"Name: HAProxy\nVersion: {self.version}\nPid: {self.pid}\nUptime_sec: 1\n"
            f"DroppedLogs: {self.dropped_logs}\n"
        )


@asynccontextmanager
async def fake_haproxy(socket_path: Path) -> AsyncIterator[FakeHaproxy]:
    """Serve a fake's admin socket while the body runs."""
    haproxy = FakeHaproxy()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = (await reader.readline()).decode()
        if line.rstrip().endswith("<<"):
            line += (await reader.readuntil(b"\n\n")).decode()
        writer.write(haproxy.answer(line).encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(serve, str(socket_path), limit=1 << 20)
    try:
        yield haproxy
    finally:
        server.close()
        await server.wait_closed()


def _shown_address(address: str) -> tuple[str, int]:
    """Return what `show servers state` says of an address: nothing of a unix socket."""
    if address.startswith("unix@"):
        return "-", 0
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def _state_row(pool: str, name: str, server: FakeServer) -> str:
    check_state = _CHECK_CONFIGURED | (_CHECK_ENABLED if server.checked else 0)
    stopped = server.admin == "maint" or server.up is False
    result = {None: 0, False: 2, True: 3}[server.up]
    return (
        f"1 {pool} {server.number} {name} {server.host} {0 if stopped else 2}"
        f" {_ADMIN_BITS[server.admin]} {server.weight} {server.weight} 0 6 {result} 0"
        f" {check_state} 0 0 1 - {server.port} - 0 0 - - 0"
    )


def _table(head: str, rows: Iterable[str]) -> str:
    return "\n".join((head, *rows)) + "\n"
