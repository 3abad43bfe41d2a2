"""What the runtime API promises; run against the fake and against HAProxy 2.8."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from libs.errors import PeerUnreachableError
from libs.haproxy.client import HaproxyClient
from libs.haproxy.codec import Ok, Rejected, render_all, split_answers
from libs.haproxy.commands import (
    AddMapEntry,
    AddServer,
    AddToMap,
    AdminState,
    CommitMap,
    DelMapEntry,
    DelServer,
    EnableHealth,
    MapEdit,
    PrepareMap,
    ServerRef,
    ServerSpec,
    SetMapEntry,
    SetServerMaxconn,
    SetServerState,
    SetServerWeight,
    ShowHolds,
    ShowInfo,
    ShowMap,
    ShowMaps,
    ShowServersState,
    ShowStat,
    ShutdownSessions,
)
from libs.haproxy.tables import (
    MapInfo,
    ServerState,
    Stat,
    parse_holds,
    parse_info,
    parse_map,
    parse_maps,
    parse_servers_state,
    parse_stat,
)

SPEC = ServerSpec(name="r1.aa", number=77, address="127.0.0.1:9", weight=16, maxconn=4)
REF = ServerRef(pool="lc0", name="r1.aa")


async def states(haproxy: HaproxyClient) -> dict[str, ServerState]:
    """Return the pools' servers by name."""
    return in_pools(await haproxy.query(ShowServersState()))


def in_pools(text: str) -> dict[str, ServerState]:
    """Read the pools' servers by name; the edge's own backends are no pools."""
    found = parse_servers_state(text)
    return {state.name: state for state in found if state.pool in {"lc0", "lc1", "px0"}}


async def stats(haproxy: HaproxyClient) -> dict[tuple[str, str | None], Stat]:
    """Return the counters by pool and server."""
    found = parse_stat(await haproxy.query(ShowStat()))
    return {(stat.pool, stat.server): stat for stat in found}


async def map_info(haproxy: HaproxyClient, file: str) -> MapInfo:
    """Return a map's version and size."""
    found = parse_maps(await haproxy.query(ShowMaps()))
    return next(info for info in found if info.file == file)


async def test_an_empty_haproxy_has_pools_and_no_servers(haproxy: HaproxyClient) -> None:
    """Pools are declared before any model exists."""
    assert await states(haproxy) == {}
    assert {("lc0", None), ("lc1", None), ("px0", None)} <= (await stats(haproxy)).keys()


async def test_the_program_names_its_version_and_pid(haproxy: HaproxyClient) -> None:
    """Both tell who answers."""
    info = parse_info(await haproxy.query(ShowInfo()))

    assert info.version.startswith("2.8")
    assert info.pid > 0


async def test_a_new_server_waits_in_maintenance_without_checks(haproxy: HaproxyClient) -> None:
    """It takes no request before it was told to."""
    assert await haproxy.execute(AddServer(pool="lc0", server=SPEC)) == Ok()

    state = (await states(haproxy))["r1.aa"]
    assert (state.pool, state.number, state.host, state.port) == ("lc0", 77, "127.0.0.1", 9)
    assert (state.admin, state.checked, state.weight) == (AdminState.MAINT, False, 16)
    assert (await stats(haproxy))["lc0", "r1.aa"].maxconn == 4


async def test_a_server_on_a_unix_socket_is_known_by_its_name(haproxy: HaproxyClient) -> None:
    """HAProxy shows no address of it; everything else is as with a port, and it can be deleted."""
    spec = replace(SPEC, address="unix@/tmp/nothing.sock", check_interval_s=2)
    assert await haproxy.execute(AddServer(pool="lc0-py", server=spec)) == Ok()
    ref = ServerRef(pool="lc0-py", name="r1.aa")
    assert await haproxy.execute(EnableHealth(ref=ref)) == Ok()
    assert await haproxy.execute(SetServerState(ref=ref, state=AdminState.READY)) == Ok()

    found = parse_servers_state(await haproxy.query(ShowServersState()))
    (state,) = (each for each in found if each.pool == "lc0-py")

    assert (state.number, state.host, state.port) == (77, None, None)
    assert (state.admin, state.checked, state.weight) == (AdminState.READY, True, 16)
    assert (await stats(haproxy))["lc0-py", "r1.aa"].maxconn == 4
    assert await haproxy.execute(SetServerState(ref=ref, state=AdminState.MAINT)) == Ok()
    assert await haproxy.execute(DelServer(ref=ref)) == Ok()


@pytest.mark.parametrize("pool", ["lc0", "px0"])
async def test_an_admitted_server_is_ready_and_checked(haproxy: HaproxyClient, pool: str) -> None:
    """Both kinds of pools take servers at runtime."""
    ref = ServerRef(pool=pool, name="r1.aa")
    await haproxy.execute(AddServer(pool=pool, server=SPEC))

    assert await haproxy.execute(EnableHealth(ref=ref)) == Ok()
    assert await haproxy.execute(SetServerState(ref=ref, state=AdminState.READY)) == Ok()

    state = (await states(haproxy))["r1.aa"]
    assert (state.admin, state.checked) == (AdminState.READY, True)


async def test_a_drained_server_can_be_ready_again(haproxy: HaproxyClient) -> None:
    """Draining is no one-way street."""
    await haproxy.execute(AddServer(pool="lc0", server=SPEC))
    seen: list[AdminState] = []

    for state in (AdminState.READY, AdminState.DRAIN, AdminState.READY, AdminState.MAINT):
        await haproxy.execute(SetServerState(ref=REF, state=state))
        seen.append((await states(haproxy))["r1.aa"].admin)

    assert seen == [AdminState.READY, AdminState.DRAIN, AdminState.READY, AdminState.MAINT]


async def test_a_name_is_taken_once_in_a_pool(haproxy: HaproxyClient) -> None:
    """The same server cannot join twice."""
    await haproxy.execute(AddServer(pool="lc0", server=SPEC))

    again = await haproxy.execute(AddServer(pool="lc0", server=replace(SPEC, number=78)))

    assert isinstance(again, Rejected)


async def test_a_number_is_taken_once_in_a_pool_but_free_in_others(
    haproxy: HaproxyClient,
) -> None:
    """Numbers are places on a pool's own hash ring."""
    other = replace(SPEC, name="r2.bb")
    await haproxy.execute(AddServer(pool="lc0", server=SPEC))

    assert isinstance(await haproxy.execute(AddServer(pool="lc0", server=other)), Rejected)
    assert await haproxy.execute(AddServer(pool="lc1", server=other)) == Ok()


async def test_weight_and_maxconn_change_at_runtime(haproxy: HaproxyClient) -> None:
    """Neither needs the server to leave."""
    await haproxy.execute(AddServer(pool="lc0", server=SPEC))

    assert await haproxy.execute(SetServerWeight(ref=REF, weight=32)) == Ok()
    assert await haproxy.execute(SetServerMaxconn(ref=REF, maxconn=9)) == Ok()

    assert (await states(haproxy))["r1.aa"].weight == 32
    assert (await stats(haproxy))["lc0", "r1.aa"].maxconn == 9


@pytest.mark.parametrize("state", [AdminState.READY, AdminState.DRAIN])
async def test_only_a_server_in_maintenance_can_be_deleted(
    haproxy: HaproxyClient, state: AdminState
) -> None:
    """Draining is not enough."""
    await haproxy.execute(AddServer(pool="lc0", server=SPEC))
    await haproxy.execute(SetServerState(ref=REF, state=state))

    assert isinstance(await haproxy.execute(DelServer(ref=REF)), Rejected)
    await haproxy.execute(SetServerState(ref=REF, state=AdminState.MAINT))
    assert await haproxy.execute(DelServer(ref=REF)) == Ok()
    assert await states(haproxy) == {}


async def test_cutting_sessions_of_an_idle_server_is_no_error(haproxy: HaproxyClient) -> None:
    """There is nothing to cut."""
    await haproxy.execute(AddServer(pool="lc0", server=SPEC))

    assert await haproxy.execute(ShutdownSessions(ref=REF)) == Ok()


@pytest.mark.parametrize(
    "ref", [ServerRef(pool="lc0", name="nobody"), ServerRef(pool="nowhere", name="nobody")], ids=str
)
async def test_commands_about_nobody_are_refused(haproxy: HaproxyClient, ref: ServerRef) -> None:
    """An unknown server or pool is told as such."""
    commands = (
        EnableHealth(ref=ref),
        SetServerState(ref=ref, state=AdminState.READY),
        SetServerWeight(ref=ref, weight=1),
        SetServerMaxconn(ref=ref, maxconn=1),
        ShutdownSessions(ref=ref),
        DelServer(ref=ref),
    )

    replies = [await haproxy.execute(command) for command in commands]

    assert [type(reply) for reply in replies] == [Rejected] * len(commands)


async def test_a_server_in_an_unknown_pool_is_refused(haproxy: HaproxyClient) -> None:
    """Pools cannot be made at runtime."""
    assert isinstance(await haproxy.execute(AddServer(pool="lc9", server=SPEC)), Rejected)


async def test_a_map_is_replaced_whole_and_gets_a_version(haproxy: HaproxyClient) -> None:
    """What is not in the new version is gone."""
    await haproxy.replace_map("models.map", (("a", "lc0:a"), ("b", "lc1:b")))
    first = await map_info(haproxy, "models.map")

    await haproxy.replace_map("models.map", (("c", "lc1:c"),))

    second = await map_info(haproxy, "models.map")
    assert parse_map(await haproxy.query(ShowMap(file="models.map"))) == (("c", "lc1:c"),)
    assert (first.entries, second.entries) == (2, 1)
    assert second.version > first.version


async def test_a_map_can_be_emptied(haproxy: HaproxyClient) -> None:
    """No models, no entries."""
    await haproxy.replace_map("models.map", (("a", "lc0:a"),))

    assert isinstance(await haproxy.replace_map("models.map", ()), Ok)

    assert parse_map(await haproxy.query(ShowMap(file="models.map"))) == ()


async def test_a_prepared_version_is_not_served_before_its_commit(haproxy: HaproxyClient) -> None:
    """A reader never sees a part of a change."""
    await haproxy.replace_map("models.map", (("a", "lc0:a"),))
    prepared = await haproxy.execute(PrepareMap(file="models.map"))
    assert isinstance(prepared, Ok)
    assert prepared.version is not None

    await haproxy.execute(
        AddToMap(file="models.map", version=prepared.version, entries=(("b", "lc1:b"),))
    )

    before = parse_map(await haproxy.query(ShowMap(file="models.map")))
    await haproxy.execute(CommitMap(file="models.map", version=prepared.version))
    after = parse_map(await haproxy.query(ShowMap(file="models.map")))
    assert (before, after) == ((("a", "lc0:a"),), (("b", "lc1:b"),))


async def test_a_few_names_change_in_the_version_that_is_served(haproxy: HaproxyClient) -> None:
    """Another version is not opened for that."""
    await haproxy.replace_map("models.map", (("a", "lc0:a"), ("b", "lc0:b")))
    before = await map_info(haproxy, "models.map")
    edits = (
        AddMapEntry(file="models.map", key="org/c", value="lc1:c"),
        SetMapEntry(file="models.map", key="a", value="px0:a"),
        DelMapEntry(file="models.map", key="b"),
    )

    assert await haproxy.execute_all(edits) == Ok()

    after = await map_info(haproxy, "models.map")
    found = parse_map(await haproxy.query(ShowMap(file="models.map")))
    assert dict(found) == {"a": "px0:a", "org/c": "lc1:c"}
    assert (after.version, after.entries) == (before.version, 2)


@pytest.mark.parametrize(
    "edit",
    [
        SetMapEntry(file="models.map", key="nobody", value="lc0:a"),
        DelMapEntry(file="models.map", key="nobody"),
        AddMapEntry(file="x.map", key="a", value="lc0:a"),
    ],
)
async def test_a_change_of_a_name_or_map_that_is_not_there_is_refused(
    haproxy: HaproxyClient, edit: MapEdit
) -> None:
    """The map is not what it was taken for; it must be read again."""
    await haproxy.replace_map("models.map", (("a", "lc0:a"),))

    assert isinstance(await haproxy.execute_all((edit,)), Rejected)

    found = parse_map(await haproxy.query(ShowMap(file="models.map")))
    assert found == (("a", "lc0:a"),)


async def test_a_large_map_arrives_complete(haproxy: HaproxyClient) -> None:
    """More than one command's buffer holds."""
    entries = tuple((f"model-{index:06}", f"lc0:model-{index:06}") for index in range(20_000))

    assert isinstance(await haproxy.replace_map("models.map", entries), Ok)

    assert set(parse_map(await haproxy.query(ShowMap(file="models.map")))) == set(entries)


async def test_json_survives_as_a_value(haproxy: HaproxyClient) -> None:
    """Quotes, braces and backslashes mean nothing to a payload."""
    value = r'{"object":"list","data":[{"id":"a\/b"}]}'

    await haproxy.replace_map("listing.map", (("models", value),))

    assert parse_map(await haproxy.query(ShowMap(file="listing.map"))) == (("models", value),)


@pytest.mark.parametrize(
    "command", [PrepareMap(file="x.map"), CommitMap(file="models.map", version=99)]
)
async def test_maps_and_versions_that_are_not_there_are_refused(
    haproxy: HaproxyClient, command: PrepareMap | CommitMap
) -> None:
    """A map must be there from the start, and a version must be prepared."""
    assert isinstance(await haproxy.execute(command), Rejected)


async def test_several_commands_in_one_line_are_all_done(haproxy: HaproxyClient) -> None:
    """One round trip makes a server ready."""
    commands = (
        AddServer(pool="lc0", server=SPEC),
        EnableHealth(ref=REF),
        SetServerState(ref=REF, state=AdminState.READY),
    )

    assert await haproxy.execute_all(commands) == Ok()

    state = (await states(haproxy))["r1.aa"]
    assert (state.admin, state.checked) == (AdminState.READY, True)


async def test_a_refusal_in_a_line_is_told_and_stops_nothing(haproxy: HaproxyClient) -> None:
    """Whoever sends a line must be ready for its parts."""
    await haproxy.execute(AddServer(pool="lc0", server=SPEC))
    commands = (
        DelServer(ref=ServerRef(pool="lc0", name="nobody")),
        SetServerWeight(ref=REF, weight=32),
    )

    assert isinstance(await haproxy.execute_all(commands), Rejected)

    assert (await states(haproxy))["r1.aa"].weight == 32


async def test_several_queries_in_one_line_are_told_apart(haproxy: HaproxyClient) -> None:
    """An empty line ends each answer."""
    await haproxy.execute(AddServer(pool="lc0", server=SPEC))

    info, states_text, stats_text, maps = await haproxy.query_all(
        (ShowInfo(), ShowServersState(), ShowStat(), ShowMaps())
    )

    assert parse_info(info).pid > 0
    assert in_pools(states_text).keys() == {"r1.aa"}
    assert "r1.aa" in {stat.server for stat in parse_stat(stats_text)}
    files = {found.file for found in parse_maps(maps)}
    assert files == {"models.map", "listing.map", "tenants.map", "failing.map"}


async def test_an_idle_haproxy_holds_nothing_and_says_so(haproxy: HaproxyClient) -> None:
    """Which is another answer than none."""
    assert parse_holds(await haproxy.query(ShowHolds())) == {}


LOOK = (ShowInfo(), ShowServersState(), ShowStat(), ShowMaps())


async def test_an_answer_that_breaks_off_is_no_answer(haproxy: HaproxyClient, folder: Path) -> None:
    """Wherever HAProxy ends meanwhile: half a table would look like servers that are gone."""
    assert len(await haproxy.query_all(LOOK)) == len(LOOK)
    text = (await said(folder / "admin.sock", render_all(LOOK))).decode()

    for end in range(len(text)):
        with pytest.raises(PeerUnreachableError):
            split_answers(text[:end], count=len(LOOK))
    assert len(split_answers(text, count=len(LOOK))) == len(LOOK)


@pytest.mark.parametrize("answer", [b"", b"Name: HAProxy\nPid: 1\n", b"Name: HAProxy\n\n# pool\n"])
async def test_a_haproxy_that_ends_while_it_answers_is_away(folder: Path, answer: bytes) -> None:
    """For a client as for one that was not there: the next look tells."""

    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(answer)
        writer.close()

    client = HaproxyClient(folder / "half.sock", timeout_s=5.0)
    async with await asyncio.start_unix_server(half, str(folder / "half.sock")):
        with pytest.raises(PeerUnreachableError):
            await client.query(ShowInfo())
        with pytest.raises(PeerUnreachableError):
            await client.query_all(LOOK)


async def said(socket: Path, line: str) -> bytes:
    """Return all bytes of an answer."""
    reader, writer = await asyncio.open_unix_connection(str(socket))
    writer.write(line.encode())
    found = await reader.read(-1)
    writer.close()
    return found
