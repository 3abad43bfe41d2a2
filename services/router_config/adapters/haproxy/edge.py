"""An edge that is a HAProxy with an admin socket."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
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
from services.router_config.domain.model import Observed, distinct_of
from services.router_config.domain.plan import Action, Admit, Join, Publish, Retire
from services.router_config.ports import Done, EdgeView, Outcome, Pending, Refused

MAP_REREAD_S: Final = 30.0
"""`set map` by hand changes no version, so a map is read whole this often in any case."""


_MAPS: Final = (MODELS_MAP, LISTING_MAP, TENANTS_MAP)

ACTIONS_AT_ONCE: Final = 32
"""A line of about 10 kB, and some milliseconds in which HAProxy does nothing else."""

LOOK: Final = (ShowInfo(), ShowServersState(), ShowStat(), ShowMaps())
"""One look, in one line; each round trip less is a chance less to wait for a busy machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _ReadMap:
    """A map as it was read or written: of which program, at which version, when.

    Attributes:
        text: a hash of what HAProxy showed; None for a map as it was written here.
    """

    pid: int
    info: MapInfo
    read_at: float
    text: int | None
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
        self._pid = 0

    async def observe(self) -> EdgeView:
        """Read the whole state; counters after states, so that an idle one was idle in its state.

        Raises:
            PeerUnreachableError: HAProxy does not answer in time.
        """
        shown = await self._client.query_all(LOOK)
        info = parse_info(shown[0])
        states, stats = parse_servers_state(shown[1]), parse_stat(shown[2])
        holds = parse_holds(await self._client.query(ShowHolds()))
        self._pid = info.pid
        await self._read_maps(parse_maps(shown[3]))
        routes, access = self._routes(), self._access()
        return EdgeView(
            observed=Observed(
                servers=observed_servers(states, stats),
                routes=routes.routes,
                listing="".join(value for _, value in self._entries(LISTING_MAP)),
                pools_per_kind=self._pools_per_kind(),
                foreign=routes.foreign,
                distinct=routes.distinct,
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
            written = ReadRoutes(
                routes=action.routes, foreign=False, distinct=distinct_of(action.routes)
            )
            return await self._replace(map_entries(action), routes=written)
        if isinstance(action, Admit):
            return await self._replace({TENANTS_MAP: access_entries(action.access)})
        commands = server_commands(action)
        reply = await self._client.execute_all(commands)
        if isinstance(reply, Rejected) and not _was_there(action, reply.text):
            return _failed(reply.text, pending=isinstance(action, Retire))
        return Done(commands=len(commands))

    async def apply_all(self, actions: Sequence[Action]) -> Sequence[Outcome]:
        """Do actions in their order, those about servers many at a time.

        Raises:
            PeerUnreachableError: HAProxy does not answer in time.
        """
        outcomes: list[Outcome] = []
        for alike, group in groupby(actions, key=_goes_with_others):
            for batch in _batched(group, ACTIONS_AT_ONCE if alike else 1):
                outcomes += await self._apply_batch(batch)
        return outcomes

    async def _apply_batch(self, batch: tuple[Action, ...]) -> list[Outcome]:
        """Do them in one line; where HAProxy objects, one by one, to learn to which."""
        if len(batch) > 1:
            each = [server_commands(a) for a in batch if not isinstance(a, Publish | Admit)]
            reply = await self._client.execute_all([c for commands in each for c in commands])
            if not isinstance(reply, Rejected):
                return [Done(commands=len(commands)) for commands in each]
        return [await self.apply(action) for action in batch]

    async def _replace(
        self, wanted: Mapping[str, Entries], *, routes: ReadRoutes | None = None
    ) -> Outcome:
        """Replace what differs, and remember what was written: 100,000 names are not read again."""
        differing = {f: entries for f, entries in wanted.items() if entries != self._entries(f)}
        for file in differing:
            self._maps.pop(file, None)
        versions = await self._client.replace_maps(differing)
        if isinstance(versions, Rejected):
            return Refused(reason=versions.text)
        for file, version in versions.items():
            entries = differing[file]
            info = MapInfo(file=file, version=version, entries=len(entries))
            self._keep(info, entries, text=None, routes=routes)
        return Done(commands=len(differing))

    def _keep(
        self, info: MapInfo, entries: Entries, *, text: int | None, routes: ReadRoutes | None = None
    ) -> None:
        mine = entries if info.file == MODELS_MAP else ()
        self._maps[info.file] = _ReadMap(
            pid=self._pid,
            info=info,
            read_at=self._now(),
            text=text,
            entries=entries,
            routes=routes if routes and mine else read_routes(mine),
            access=read_access(entries if info.file == TENANTS_MAP else ()),
        )

    async def _read_maps(self, infos: Iterable[MapInfo]) -> None:
        for info in infos:
            if info.file in _MAPS and self._is_old(info):
                shown = await self._client.query(ShowMap(file=info.file))
                self._take_in(info, shown)

    def _take_in(self, info: MapInfo, shown: str) -> None:
        """Read a map; where it is as it was, its routes stay the object that they were."""
        held, text = self._maps.get(info.file), hash(shown)
        entries = held.entries if held and held.text == text else parse_map(shown)
        same = held is not None and held.entries == entries
        self._keep(info, entries, text=text, routes=held.routes if held and same else None)

    def _is_old(self, info: MapInfo) -> bool:
        held = self._maps.get(info.file)
        return (
            held is None
            or (held.pid, held.info) != (self._pid, info)
            or self._now() - held.read_at > MAP_REREAD_S
        )

    def _entries(self, file: str) -> Entries:
        held = self._maps.get(file)
        return held.entries if held else ()

    def _routes(self) -> ReadRoutes:
        held = self._maps.get(MODELS_MAP)
        return held.routes if held else ReadRoutes(routes={}, foreign=False, distinct=())

    def _access(self) -> ReadAccess:
        held = self._maps.get(TENANTS_MAP)
        return held.access if held else ReadAccess(access=None, foreign=False)


def _was_there(action: Action, text: str) -> bool:
    """Tell a join that was done before, in a line of which something else was refused."""
    return isinstance(action, Join) and (
        text == "Already exists a server with the same name in backend."
        or text.endswith(f"('server {action.server.key.name}').")
    )


def _goes_with_others(action: Action) -> bool:
    """A refused removal is waited for, and maps take several commands: those go alone."""
    return not isinstance(action, Publish | Admit | Retire)


def _batched(items: Iterable[Action], size: int) -> Iterator[tuple[Action, ...]]:
    """Cut into pieces of at most this size."""
    rest = iter(items)
    while piece := tuple(islice(rest, size)):
        yield piece


def _failed(reason: str, *, pending: bool) -> Outcome:
    return Pending(reason=reason) if pending else Refused(reason=reason)
