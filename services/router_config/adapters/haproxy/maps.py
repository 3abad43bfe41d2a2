"""HAProxy's maps, as they were last read or written: names, tenants, models that fail.

A map is replaced whole, in one commit. Only a few names of a large map are changed where they
stand, each at once: the others are then neither sent again nor freed. Source: ADR 11.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from libs.haproxy.client import HaproxyClient
from libs.haproxy.codec import Rejected
from libs.haproxy.commands import MapEdit, ShowMap
from libs.haproxy.config import FAILING_MAP, LISTING_MAP, MODELS_MAP, TENANTS_MAP
from libs.haproxy.tables import MapInfo, parse_map
from services.router_config.adapters.haproxy.access_codec import (
    ReadAccess,
    access_entries,
    read_access,
)
from services.router_config.adapters.haproxy.blocked_codec import (
    ReadBlocked,
    blocked_entries,
    read_blocked,
)
from services.router_config.adapters.haproxy.codec import (
    EDITS_MAX,
    REPLACED_NAMES_MAX,
    Entries,
    ReadRoutes,
    listing_entries,
    read_routes,
    route_edits,
    route_entries,
)
from services.router_config.domain.model import Routes
from services.router_config.domain.plan import Admit, Block, Publish
from services.router_config.domain.route_changes import route_changes
from services.router_config.ports import Done, Outcome, Refused

MAP_REREAD_S: Final = 30.0
"""`set map` by hand changes no version, so a map is read whole this often in any case."""

_MAPS: Final = (MODELS_MAP, LISTING_MAP, TENANTS_MAP, FAILING_MAP)
_NO_ROUTES: Final = ReadRoutes(routes=Routes(), foreign=False)
_NO_ACCESS: Final = ReadAccess(access=None, foreign=False)
_NONE_BLOCKED: Final = ReadBlocked(blocked={}, foreign=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """A map as it was read or written: of which program, at which version, when.

    Attributes:
        text: a hash of what HAProxy showed; None for a map as it was written here.
        entries: in HAProxy's order; None for routes, of which there may be 100,000.
    """

    pid: int
    info: MapInfo
    read_at: float
    text: int | None
    entries: Entries | None
    routes: ReadRoutes = _NO_ROUTES
    access: ReadAccess = _NO_ACCESS
    blocked: ReadBlocked = _NONE_BLOCKED


class EdgeMaps:
    """Reads the maps of one HAProxy when they may have changed, and writes them."""

    def __init__(self, client: HaproxyClient, *, now: Callable[[], float]) -> None:
        """Use a client; `now` is Unix time in seconds."""
        self._client = client
        self._now = now
        self._held: dict[str, _Held] = {}
        self._pid = 0

    @property
    def routes(self) -> ReadRoutes:
        """Which name leads where."""
        held = self._held.get(MODELS_MAP)
        return held.routes if held else _NO_ROUTES

    @property
    def access(self) -> ReadAccess:
        """Who may ask."""
        held = self._held.get(TENANTS_MAP)
        return held.access if held else _NO_ACCESS

    @property
    def blocked(self) -> ReadBlocked:
        """Main pools whose requests are not held."""
        held = self._held.get(FAILING_MAP)
        return held.blocked if held else _NONE_BLOCKED

    @property
    def listing(self) -> str:
        """The answer to /v1/models."""
        held = self._held.get(LISTING_MAP)
        return "".join(value for _, value in (held.entries if held else None) or ())

    async def read(self, infos: Iterable[MapInfo], *, pid: int) -> None:
        """Read what another program has, what has another version, and what was read long ago.

        Raises:
            PeerUnreachableError: HAProxy does not answer in time.
        """
        self._pid = pid
        for info in infos:
            if info.file in _MAPS and self._is_old(info):
                self._take_in(info, await self._client.query(ShowMap(file=info.file)))

    async def publish(self, action: Publish) -> Outcome:
        """Bring routes and listing to what they should be.

        Raises:
            PeerUnreachableError: HAProxy does not answer in time.
        """
        wanted = {LISTING_MAP: listing_entries(action.listing)}
        edits = self._edits(action.routes)
        if edits is None:
            wanted = {MODELS_MAP: route_entries(action.routes), **wanted}
        elif isinstance(refused := await self._edit(edits, action.routes), Refused):
            return refused
        return await self._replace(wanted, routes=action.routes, done=len(edits or ()))

    async def admit(self, action: Admit) -> Outcome:
        """Bring tenants to what they should be.

        Raises:
            PeerUnreachableError: HAProxy does not answer in time.
        """
        return await self._replace({TENANTS_MAP: access_entries(action.access)})

    async def block(self, action: Block) -> Outcome:
        """Bring the pools whose requests are not held to the desired state.

        Raises:
            PeerUnreachableError: HAProxy does not answer in time.
        """
        return await self._replace({FAILING_MAP: blocked_entries(action.blocked)})

    def _edits(self, routes: Routes) -> tuple[MapEdit, ...] | None:
        """Return what changes single names, if any, or None where the map must be replaced."""
        held = self._held.get(MODELS_MAP)
        if held is None or held.routes.foreign:
            return None
        is_large = len(held.routes.routes) > REPLACED_NAMES_MAX
        at_most = EDITS_MAX if is_large else 0
        changes = route_changes(held.routes.routes, routes, at_most=at_most)
        return None if changes is None else route_edits(changes)

    async def _edit(self, edits: tuple[MapEdit, ...], routes: Routes) -> Outcome:
        """Change single names; where HAProxy objects, the map is not what it was taken for."""
        if not edits:
            return Done(commands=0)
        held = self._held.pop(MODELS_MAP)
        reply = await self._client.execute_all(edits)
        if isinstance(reply, Rejected):
            return Refused(reason=reply.text)
        info = replace(held.info, entries=len(routes))
        written = ReadRoutes(routes=routes, foreign=False)
        self._held[MODELS_MAP] = replace(held, info=info, text=None, routes=written)
        return Done(commands=len(edits))

    async def _replace(
        self, wanted: Mapping[str, Entries], *, routes: Routes | None = None, done: int = 0
    ) -> Outcome:
        """Replace what differs, and remember what was written: it is not read again.

        `done` commands have gone before and count as well.
        """
        differing = {f: entries for f, entries in wanted.items() if entries != self._entries(f)}
        for file in differing:
            self._held.pop(file, None)
        versions = await self._client.replace_maps(differing)
        if isinstance(versions, Rejected):
            return Refused(reason=versions.text)
        for file, version in versions.items():
            entries = differing[file]
            info = MapInfo(file=file, version=version, entries=len(entries))
            written = None if routes is None else ReadRoutes(routes=routes, foreign=False)
            self._keep(info, entries, text=None, routes=written)
        return Done(commands=done + len(differing))

    def _take_in(self, info: MapInfo, shown: str) -> None:
        """Read a map; what it holds stays the object that it was where nothing is different."""
        held, text = self._held.get(info.file), hash(shown)
        if held is None or held.text != text:
            self._keep(info, parse_map(shown), text=text, routes=None)
        else:
            self._held[info.file] = replace(held, pid=self._pid, info=info, read_at=self._now())

    def _keep(
        self, info: MapInfo, entries: Entries, *, text: int | None, routes: ReadRoutes | None
    ) -> None:
        is_routes = info.file == MODELS_MAP
        read = (routes or self._same_or(read_routes(entries))) if is_routes else _NO_ROUTES
        self._held[info.file] = _Held(
            pid=self._pid,
            info=info,
            read_at=self._now(),
            text=text,
            entries=None if is_routes else entries,
            routes=read,
            access=read_access(entries) if info.file == TENANTS_MAP else _NO_ACCESS,
            blocked=read_blocked(entries) if info.file == FAILING_MAP else _NONE_BLOCKED,
        )

    def _same_or(self, read: ReadRoutes) -> ReadRoutes:
        """Prefer the object that is known already: whoever compares it has nothing to do."""
        return self.routes if read == self.routes else read

    def _is_old(self, info: MapInfo) -> bool:
        held = self._held.get(info.file)
        return (
            held is None
            or (held.pid, held.info) != (self._pid, info)
            or self._now() - held.read_at > MAP_REREAD_S
        )

    def _entries(self, file: str) -> Entries | None:
        held = self._held.get(file)
        return held.entries if held else ()
