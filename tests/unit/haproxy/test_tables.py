"""What HAProxy 2.8.25 shows, read into types; the texts were recorded from it."""

from __future__ import annotations

import pytest

from libs.haproxy.commands import AdminState
from libs.haproxy.tables import (
    MapInfo,
    UnreadableReplyError,
    parse_holds,
    parse_info,
    parse_map,
    parse_maps,
    parse_servers_state,
    parse_stat,
)

SERVERS_STATE_HEAD = """1
# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight \
srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state \
srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl \
srv_check_port srv_check_addr srv_agent_addr srv_agent_port
"""
STAT = """# pxname,svname,qcur,qmax,scur,smax,slim,stot,bin,bout,dreq,dresp,ereq,econ,eresp,\
wretr,wredis,status,weight,act,bck
lc1,s.1,3,4,2,0,4,0,0,0,,0,,0,0,0,0,DOWN,16,1,0
lc0,BACKEND,0,0,0,1,1,1,177,195,0,0,,1,0,0,0,UP,0,0,0
lc1,BACKEND,5,0,2,1,1,1,177,195,0,0,,7,0,0,0,DOWN,0,0,0

"""
MAPS = """# id (file) description
0 (listing.map) pattern loaded from file 'listing.map' used by map at file 'base.cfg' line 30. \
curr_ver=1 next_ver=1 entry_cnt=1
3 (models.map) pattern loaded from file 'models.map' used by map at file 'base.cfg' line 33. \
curr_ver=0 next_ver=2 entry_cnt=2

"""


@pytest.mark.parametrize(
    ("row", "admin", "up", "checked"),
    [
        ("0 1 16 16 0 1 0 0 2", AdminState.MAINT, False, False),
        ("0 1 16 16 0 1 0 0 6", AdminState.MAINT, False, True),
        ("2 0 16 16 1 1 0 2 6", AdminState.READY, None, True),
        ("2 8 16 16 1 1 0 2 6", AdminState.DRAIN, None, True),
        ("0 0 16 16 5 8 2 0 6", AdminState.READY, False, True),
        ("2 0 16 16 5 15 3 4 6", AdminState.READY, True, True),
    ],
    ids=["just added", "health enabled", "never checked", "draining", "down", "up"],
)
def test_a_server_has_an_admin_state_and_a_health(
    row: str, admin: AdminState, *, up: bool | None, checked: bool
) -> None:
    """A server that no check has seen yet is neither up nor down."""
    text = f"{SERVERS_STATE_HEAD}4 lc1 77 s.1 127.0.0.1 {row} 0 0 1 - 81 - 0 0 - - 0\n\n"

    (state,) = parse_servers_state(text)

    assert (state.pool, state.name, state.number) == ("lc1", "s.1", 77)
    assert (state.host, state.port, state.weight) == ("127.0.0.1", 81, 16)
    assert (state.admin, state.up, state.checked) == (admin, up, checked)


def test_no_servers_are_no_rows() -> None:
    """A header alone is an empty table, not an error."""
    assert parse_servers_state(SERVERS_STATE_HEAD + "\n") == ()


def test_counters_tell_pools_and_servers_apart() -> None:
    """A pool's own limit of sessions is not a server's maxconn."""
    server, empty, pool = parse_stat(STAT)

    assert (server.server, server.queued, server.sessions, server.maxconn) == ("s.1", 3, 2, 4)
    assert (empty.pool, empty.server, empty.refused_count) == ("lc0", None, 1)
    assert (pool.queued, pool.maxconn, pool.refused_count) == (5, None, 7)


def test_columns_are_found_by_name_wherever_they_stand() -> None:
    """A newer HAProxy may add or move columns."""
    text = "# new,svname,pxname,econ,slim,scur,qcur,\nx,s.1,lc0,9,4,2,1,\n"

    (stat,) = parse_stat(text)

    assert (stat.pool, stat.refused_count, stat.maxconn, stat.sessions) == ("lc0", 9, 4, 2)


@pytest.mark.parametrize("text", ["", "Permission denied\n", "# pxname,svname\nlc0,BACKEND\n"])
def test_a_table_without_its_columns_is_an_error_and_not_an_idle_edge(text: str) -> None:
    """Missing is not zero."""
    with pytest.raises(UnreadableReplyError):
        parse_stat(text)


def test_a_state_table_without_its_columns_is_an_error() -> None:
    """Missing is not zero."""
    with pytest.raises(UnreadableReplyError):
        parse_servers_state("1\n# be_id be_name\n3 lc0\n")


def test_maps_have_versions_and_sizes() -> None:
    """They tell whether somebody replaced a map since it was read."""
    assert parse_maps(MAPS) == (
        MapInfo(file="listing.map", version=1, entries=1),
        MapInfo(file="models.map", version=0, entries=2),
    )


def test_a_map_entry_ends_with_its_line() -> None:
    """Values may hold spaces, as JSON may."""
    text = '0x22901940 m1 lc0:m1\n0x22a2bc30 models {"a": 1, "b": 2}\n0x22a2bc40 lonely\n\n'

    assert parse_map(text) == (("m1", "lc0:m1"), ("models", '{"a": 1, "b": 2}'), ("lonely", ""))


def test_info_names_the_program() -> None:
    """The pid tells a new program from the old one."""
    info = parse_info("Name: HAProxy\nVersion: 2.8.25-5cf\nPid: 79\nUptime_sec: 45\nDroppedLogs: 2")

    assert (info.version, info.pid, info.uptime_s, info.dropped_logs) == ("2.8.25-5cf", 79, 45, 2)


def test_info_without_a_pid_is_an_error() -> None:
    """Nothing can be told about a program without a pid."""
    with pytest.raises(UnreadableReplyError):
        parse_info("Name: HAProxy\n")


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("# pool held\nlc1 3\npx0 128\n\n", {"lc1": 3, "px0": 128}),
        ("# pool held\n\n", {}),
        ("Unknown command: 'show holds', but maybe one of the following\n", None),
        ("", None),
    ],
)
def test_holds_are_read_by_pool(text: str, holds: dict[str, int] | None) -> None:
    """A HAProxy that does not know the question is not one that holds nothing."""
    assert parse_holds(text) == holds
