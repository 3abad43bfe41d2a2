"""An edge that is a HAProxy with an admin socket."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from libs.haproxy.client import HaproxyClient
from libs.haproxy.codec import Rejected
from libs.haproxy.commands import (
    ShowHolds,
    ShowInfo,
    ShowMap,
    ShowMaps,
    ShowServersState,
    ShowStat,
)
from libs.haproxy.config import LISTING_MAP, MODELS_MAP, TENANTS_MAP
from libs.haproxy.tables import (
    MapInfo,
    parse_holds,
    parse_info,
    parse_map,
    parse_maps,
    parse_servers_state,
    parse_stat,
)
from services.router_config.adapters.haproxy.access_codec import (
    ReadAccess,
    access_entries,
    read_access,
)
from services.router_config.adapters.haproxy.codec import (
    Entries,
    ReadRoutes,
    map_entries,
    observed_servers,
    pool_demand,
    read_routes,
    server_commands,
)
from services.router_config.domain.model import Observed
from services.router_config.domain.plan import Action, Admit, Publish, Retire
from services.router_config.ports import Done, EdgeView, Outcome, Pending, Refused

MAP_REREAD_S: Final = 30.0
"""`set map` by hand changes no version, so a map is read whole this often in any case."""


_MAPS: Final = (MODELS_MAP, LISTING_MAP, TENANTS_MAP)

LOOK: Final = (ShowInfo(), ShowServersState(), ShowStat(), ShowMaps())
"""One look, in one line; each round trip less is a chance less to wait for a busy machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _ReadMap:
    """A map as it was read: by which program, at which version, when."""

    pid: int
    info: MapInfo
    read_at: float
    entries: Entries
    routes: ReadRoutes
    access: ReadAccess


class HaproxyEdge:
    """Observes and changes a HAProxy through its runtime API."""

    def __init__(
        self, client: HaproxyClient, *, pools_per_kind: Callable[[], int], now: Callable[[], float]
    ) -> None:
        """Use a client; `now` is Unix time in seconds."""
        self._client = client
        self._pools_per_kind = pools_per_kind
        self._now = now
        self._maps: dict[str, _ReadMap] = {}

    async def observe(self) -> EdgeView:
        """Read the whole state; counters after states, so that an idle one was idle in its state.

        Raises:
            PeerUnreachableError: HAProxy does not answer in time.
        """
        shown = await self._client.query_all(LOOK)
        info = parse_info(shown[0])
        states, stats = parse_servers_state(shown[1]), parse_stat(shown[2])
        holds = parse_holds(await self._client.query(ShowHolds()))
        await self._read_maps(info.pid, parse_maps(shown[3]))
        routes, access = self._routes(), self._access()
        return EdgeView(
            observed=Observed(
                servers=observed_servers(states, stats),
                routes=routes.routes,
                listing="".join(value for _, value in self._entries(LISTING_MAP)),
                pools_per_kind=self._pools_per_kind(),
                foreign=routes.foreign,
                access=access.access,
                access_foreign=access.foreign,
            ),
            demand=pool_demand(stats, holds),
            version=info.version.partition("-")[0],
            pid=info.pid,
            dropped_spans=info.dropped_logs,
        )

    async def apply(self, action: Action) -> Outcome:
        """Do one action.

        Raises:
            PeerUnreachableError: HAProxy does not answer in time.
        """
        if isinstance(action, Publish):
            return await self._replace(map_entries(action))
        if isinstance(action, Admit):
            return await self._replace({TENANTS_MAP: access_entries(action.access)})
        commands = server_commands(action)
        reply = await self._client.execute_all(commands)
        if isinstance(reply, Rejected):
            return _failed(reply.text, pending=isinstance(action, Retire))
        return Done(commands=len(commands))

    async def _replace(self, wanted: Mapping[str, Entries]) -> Outcome:
        done = 0
        for file, entries in wanted.items():
            if entries == self._entries(file):
                continue
            reply = await self._client.replace_map(file, entries)
            self._maps.pop(file, None)
            if isinstance(reply, Rejected):
                return Refused(reason=reply.text)
            done += 1
        return Done(commands=done)

    async def _read_maps(self, pid: int, infos: Iterable[MapInfo]) -> None:
        for info in infos:
            if info.file in _MAPS and self._is_old(pid, info):
                entries = parse_map(await self._client.query(ShowMap(file=info.file)))
                self._maps[info.file] = _ReadMap(
                    pid=pid,
                    info=info,
                    read_at=self._now(),
                    entries=entries,
                    routes=read_routes(entries if info.file == MODELS_MAP else ()),
                    access=read_access(entries if info.file == TENANTS_MAP else ()),
                )

    def _is_old(self, pid: int, info: MapInfo) -> bool:
        held = self._maps.get(info.file)
        return (
            held is None
            or (held.pid, held.info) != (pid, info)
            or self._now() - held.read_at > MAP_REREAD_S
        )

    def _entries(self, file: str) -> Entries:
        held = self._maps.get(file)
        return held.entries if held else ()

    def _routes(self) -> ReadRoutes:
        held = self._maps.get(MODELS_MAP)
        return held.routes if held else ReadRoutes(routes={}, foreign=False)

    def _access(self) -> ReadAccess:
        held = self._maps.get(TENANTS_MAP)
        return held.access if held else ReadAccess(access=None, foreign=False)


def _failed(reason: str, *, pending: bool) -> Outcome:
    return Pending(reason=reason) if pending else Refused(reason=reason)
