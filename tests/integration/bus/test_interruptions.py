"""Servers that vanish, fall silent, lose their disk or refuse: the bus comes back by itself."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from libs.bus.nats_bus import connect
from libs.bus.permissions import ADMIN
from libs.bus.ports import BucketView, Snapshot
from libs.bus.provision import provision
from libs.errors import PeerUnreachableError
from libs.testing.nats_server import NatsServer, nats_server
from libs.testing.records import a_lease, a_model

BACK_WITHIN_S = 2.0


async def test_views_and_writers_survive_many_kills_in_a_row(server: NatsServer) -> None:
    """Each time the state is right again within two seconds of the server's return."""
    async with connect(server.settings(ADMIN)) as bus, bus.view("models") as view:
        for number in range(4):
            await server.restart()
            began = time.monotonic()
            await until(view, lambda s: s.connected_since is not None)
            await bus.put("models", f"m{number}", a_model(f"m{number}"))
            await until(view, has_entries(number + 1))

            assert time.monotonic() - began < BACK_WITHIN_S


async def test_a_server_that_falls_silent_counts_as_away(server: NatsServer) -> None:
    """A process that is stopped keeps its sockets open; pings and heartbeats notice."""
    settings = replace(server.settings(ADMIN), ping_interval_s=0.3)

    async with connect(settings) as bus, bus.view("replicas") as view:
        os.kill(server.pid, signal.SIGSTOP)
        try:
            await until(view, lambda s: s.connected_since is None)
            with pytest.raises(PeerUnreachableError):
                await bus.put("replicas", "m.r1", a_lease())
        finally:
            os.kill(server.pid, signal.SIGCONT)
        await until(view, lambda s: s.connected_since is not None)


async def test_a_server_without_buckets_is_away_until_they_are_made(server: NatsServer) -> None:
    """A lost disk does not look like an empty bucket: the last known state is kept."""
    async with connect(server.settings(ADMIN)) as bus, bus.view("replicas") as view:
        await bus.put("replicas", "m.r1", a_lease())
        await until(view, lambda s: "m.r1" in s.entries)
        await server.restart(wipe=True, provisioned=False)
        await asyncio.sleep(0.5)
        meanwhile = view.snapshot()
        with pytest.raises(PeerUnreachableError):
            await bus.put("replicas", "m.r1", a_lease())

        await provision(server.settings(ADMIN))
        await until(view, lambda s: s.connected_since is not None)

        assert meanwhile.connected_since is None
        assert set(meanwhile.entries) == {"m.r1"}
        assert dict(view.snapshot().entries) == {}


async def test_the_resync_finds_what_the_watch_has_lost(server: NatsServer) -> None:
    """With a resync every 0.2 s a view stays right while its consumers come and go."""
    settings = replace(server.settings(ADMIN), resync_s=0.2)

    async with connect(settings) as bus, bus.view("replicas") as view:
        since = view.snapshot().connected_since
        for number in range(20):
            await bus.put("replicas", f"m.r{number}", a_lease(f"r{number}"))
            await asyncio.sleep(0.05)
        await until(view, has_entries(20))

        assert view.snapshot().connected_since == since


async def test_a_view_begins_anew_when_a_running_server_has_lost_its_bucket(
    server: NatsServer,
) -> None:
    """A removed key leaves a mark; keys that vanish without one were lost, as after a restart."""
    settings = replace(server.settings(ADMIN), resync_s=0.2)

    async with connect(settings) as bus, bus.view("replicas") as view:
        await bus.put("replicas", "m.r1", a_lease())
        await until(view, has_entries(1))
        since = view.snapshot().connected_since
        await bus.delete("replicas", "m.r1")
        await until(view, has_entries(0))
        after_a_removal = view.snapshot().connected_since
        await bus.put("replicas", "m.r1", a_lease())
        await until(view, has_entries(1))
        await server.lose("replicas")
        await until(view, has_entries(0))

        assert after_a_removal == since
        assert view.snapshot().connected_since != since


async def test_a_bus_can_be_opened_before_its_server_runs(tmp_path: Path) -> None:
    """A service that must start without NATS says so, and finds it as soon as it is there."""
    server = NatsServer(tmp_path)

    async with connect(server.settings(ADMIN), wait=False) as bus:
        connected_before = bus.connected
        await server.start()
        try:
            async with bus.view("replicas") as view:
                assert view.snapshot().connected_since is not None
        finally:
            await server.stop()

    assert not connected_before


async def test_opening_a_bus_without_a_server_fails_in_time(tmp_path: Path) -> None:
    """A service that needs NATS ends, and its supervisor tries again."""
    settings = replace(NatsServer(tmp_path).settings(ADMIN), connect_timeout_s=0.3)

    with pytest.raises(PeerUnreachableError):
        async with asyncio.timeout(3), connect(settings):
            pass


async def test_a_wrong_password_never_connects_and_never_gives_up(server: NatsServer) -> None:
    """The server's refusal ends a connection of nats-py for good, but not ours."""
    good = server.settings(ADMIN)
    bad = replace(good, credentials=replace(good.credentials, password="wrong"))

    async with connect(bad, wait=False) as bus:
        await asyncio.sleep(0.3)

        assert not bus.connected


async def test_provisioning_twice_changes_nothing(server: NatsServer) -> None:
    """It can run at every start."""
    async with connect(server.settings(ADMIN)) as bus:
        await bus.put("replicas", "m.r1", a_lease())

        await provision(server.settings(ADMIN))

        assert await bus.get("replicas", "m.r1") is not None


async def test_provisioning_without_a_server_fails_in_time(tmp_path: Path) -> None:
    """One clear error instead of a hang."""
    with pytest.raises(PeerUnreachableError):
        await provision(NatsServer(tmp_path).settings(ADMIN), timeout_s=0.5)


async def test_the_configuration_file_is_private(tmp_path: Path) -> None:
    """It holds every user's password."""
    async with nats_server(tmp_path):
        mode = (tmp_path / "nats.conf").stat().st_mode

    assert mode & 0o777 == 0o600


def has_entries(count: int) -> Callable[[Snapshot], bool]:
    """Ask a snapshot for its size."""
    return lambda snapshot: len(snapshot.entries) == count


async def until(view: BucketView, wanted: Callable[[Snapshot], bool]) -> None:
    """Wait until the view satisfies a predicate."""
    async with asyncio.timeout(8):
        while not wanted(view.snapshot()):
            await view.changed(timeout_s=8)
