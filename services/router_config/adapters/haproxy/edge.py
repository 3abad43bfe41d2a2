"""An edge that is a HAProxy with an admin socket."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby, islice
from typing import Final

from libs.contracts.lease import UnixEndpoint
from libs.haproxy.client import HaproxyClient
from libs.haproxy.codec import Rejected
from libs.haproxy.commands import (
    ShowHolds,
    ShowInfo,
    ShowMaps,
    ShowServersState,
    ShowStat,
)
from libs.haproxy.tables import (
    parse_holds,
    parse_info,
    parse_maps,
    parse_servers_state,
    parse_stat,
)
from services.router_config.adapters.haproxy.codec import (
    ServerTables,
    busy_pools,
    pool_demand,
    pools_per_kind,
    server_commands,
)
from services.router_config.adapters.haproxy.maps import EdgeMaps
from services.router_config.adapters.haproxy.vouching import Vouch, vouch
from services.router_config.domain.model import Observed, ObservedServer, ServerKey
from services.router_config.domain.plan import Action, Admit, Block, Join, Publish, Retire
from services.router_config.ports import Done, EdgeView, Outcome, Pending, Refused

ACTIONS_AT_ONCE: Final = 32
"""A line of about 10 kB, and some milliseconds in which HAProxy does nothing else."""

ADDRESSES_MAX: Final = 32_768
"""Addresses that are remembered before those of servers that have left are forgotten."""

LOOK: Final = (ShowInfo(), ShowServersState(), ShowStat(), ShowMaps())
"""One look, in one line; each round trip less is a chance less to wait for a busy machine."""


class HaproxyEdge:
    """Observes and changes a HAProxy through its runtime API."""

    def __init__(
        self,
        client: HaproxyClient,
        *,
        addresses: Mapping[ServerKey, UnixEndpoint],
        now: Callable[[], float],
        vouch: Vouch = vouch,
    ) -> None:
        """Use a client; `now` is monotonic time in seconds.

        `addresses` are those of servers on unix sockets that may be there already; `vouch` tells
        whether a replica is where its lease says.
        """
        self._vouch = vouch
        self._client = client
        self._maps = EdgeMaps(client, now=now)
        self._addresses = dict(addresses)
        self._tables = ServerTables()

    async def observe(self) -> EdgeView:
        """Read the whole state; counters after states, so that an idle one was idle in its state.

        Raises:
            PeerUnreachableError: HAProxy does not answer in time.
        """
        shown = await self._client.query_all(LOOK)
        info = parse_info(shown[0])
        states, stats = parse_servers_state(shown[1]), parse_stat(shown[2])
        holds = parse_holds(await self._client.query(ShowHolds()))
        await self._maps.read(parse_maps(shown[3]), pid=info.pid)
        routes, access, blocked = self._maps.routes, self._maps.access, self._maps.blocked
        servers = self._tables.join(states, stats, self._addresses)
        self._forget(servers)
        return EdgeView(
            observed=Observed(
                servers=servers,
                routes=routes.routes,
                listing=self._maps.listing,
                pools_per_kind=pools_per_kind(stats),
                foreign=routes.foreign,
                access=access.access,
                access_foreign=access.foreign,
                blocked=blocked.blocked,
                blocked_foreign=blocked.foreign,
                busy=busy_pools(stats),
            ),
            demand=pool_demand(stats, holds),
            version=info.version.partition("-")[0],
            pid=info.pid,
            dropped_spans=info.dropped_logs,
            config=info.description,
        )

    async def apply(self, action: Action) -> Outcome:
        """Do one action.

        Raises:
            PeerUnreachableError: HAProxy does not answer in time.
        """
        if isinstance(action, Publish):
            return await self._maps.publish(action)
        if isinstance(action, Admit):
            return await self._maps.admit(action)
        if isinstance(action, Block):
            return await self._maps.block(action)
        self._note(action)
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
        outcomes = await self._objections(actions)
        rest = [each for each in enumerate(actions) if each[0] not in outcomes]
        for alike, group in groupby(rest, key=lambda each: _goes_with_others(each[1])):
            for batch in _batched(group, ACTIONS_AT_ONCE if alike else 1):
                done = await self._apply_batch(tuple(action for _, action in batch))
                outcomes |= zip((place for place, _ in batch), done, strict=True)
        return [outcomes[place] for place in range(len(actions))]

    async def _objections(self, actions: Sequence[Action]) -> dict[int, Outcome]:
        """Return the places of servers whose replica is not where it should be, to be tried again.

        Nothing of a replica joins where one of its front ends must not: a name leads to both.
        """
        joins = {p: action for p, action in enumerate(actions) if isinstance(action, Join)}
        said = await self._vouch(list(joins.values())) if joins else ()
        reasons = {
            join.server.key.name: reason
            for join, reason in zip(joins.values(), said, strict=True)
            if reason
        }
        return {
            place: Pending(reason=reasons[join.server.key.name])
            for place, join in joins.items()
            if join.server.key.name in reasons
        }

    async def _apply_batch(self, batch: tuple[Action, ...]) -> list[Outcome]:
        """Do them in one line; where HAProxy objects, one by one, to learn to which."""
        if len(batch) > 1:
            for action in batch:
                self._note(action)
            each = [server_commands(a) for a in batch if not isinstance(a, Publish | Admit | Block)]
            reply = await self._client.execute_all([c for commands in each for c in commands])
            if not isinstance(reply, Rejected):
                return [Done(commands=len(commands)) for commands in each]
        return [await self.apply(action) for action in batch]

    def _note(self, action: Action) -> None:
        """Remember the unix socket of a server that joins: HAProxy does not show its path."""
        if isinstance(action, Join) and isinstance(action.server.endpoint, UnixEndpoint):
            self._addresses[action.server.key] = action.server.endpoint

    def _forget(self, servers: Iterable[ObservedServer]) -> None:
        """Keep the addresses of servers that are there, now and then: a name never comes back."""
        if len(self._addresses) > ADDRESSES_MAX:
            there = {seen.server.key for seen in servers}
            self._addresses = {k: at for k, at in self._addresses.items() if k in there}


def _was_there(action: Action, text: str) -> bool:
    """Tell a join that was done before, in a line of which something else was refused."""
    return isinstance(action, Join) and (
        text == "Already exists a server with the same name in backend."
        or text.endswith(f"('server {action.server.key.name}').")
    )


def _goes_with_others(action: Action) -> bool:
    """A refused removal is waited for, and maps take several commands: those go alone."""
    return not isinstance(action, Publish | Admit | Block | Retire)


def _batched(
    items: Iterable[tuple[int, Action]], size: int
) -> Iterator[tuple[tuple[int, Action], ...]]:
    """Cut into pieces of at most this size."""
    rest = iter(items)
    while piece := tuple(islice(rest, size)):
        yield piece


def _failed(reason: str, *, pending: bool) -> Outcome:
    return Pending(reason=reason) if pending else Refused(reason=reason)
