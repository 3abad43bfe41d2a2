"""A disk that was full: nats-server goes on refusing writes until it is started again.

After one write that found no room, nats-server 2.15.1 answers no further write to that stream, also
when there is room again, while other streams and all reads go on.
"""

from __future__ import annotations

import secrets
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.local.nats_binary import find_nats_server
from deploy.local.nats_conf import NatsConf, render_credentials, render_nats_conf
from libs.bus.nats_bus import NatsBus, connect
from libs.bus.permissions import ADMIN, NATS_WATCH, USERS
from libs.bus.provision import provision
from libs.bus.settings import BusSettings, read_credentials
from libs.bus.write_probe import failing_streams
from libs.errors import PeerUnreachableError
from libs.testing.eventually import eventually
from libs.testing.free_port import free_port
from libs.testing.local_stack import ROOT
from libs.testing.real_haproxy import short_folder
from libs.testing.records import a_fact, a_model
from libs.testing.small_disk import SmallDisk, small_disk
from tools.cli.stack.supervisor import Supervisor

DISK_MIB = 64
LOOKS_S = 5.0
"""Longer than two looks of the watch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """nats-server and its watch under supervisord, with the store on a small disk."""

    disk: SmallDisk
    supervisor: Supervisor
    settings: BusSettings

    def nats_pid(self) -> int:
        """Return the server's process."""
        return next(each.pid for each in self.supervisor.states() if each.name == "nats")


async def test_nats_is_started_again_when_there_is_room_and_writes_fail() -> None:
    """Nothing is restarted while that could not help, and nothing is lost."""
    with short_folder() as folder:
        (folder / "disk").mkdir()
        with small_disk(folder / "disk", size_mib=DISK_MIB) as disk:
            if isinstance(disk, str):
                pytest.skip(disk)
            async with machine(folder, disk) as running, connect(running.settings) as bus:
                await check_full_disk(running, bus)


async def check_full_disk(running: Machine, bus: NatsBus) -> None:
    """Fill the disk, make room again, and see that writes come back by themselves."""
    await bus.put("models", "m", a_model())
    pid = running.nats_pid()

    running.disk.fill()
    await eventually(lambda: fails(bus), what="a write that finds no room")
    with pytest.raises(AssertionError):
        await eventually(lambda: has_ended(running, pid), within_s=LOOKS_S)
    running.disk.make_room()
    still_failing = await failing_streams(running.settings, facts=False)
    await eventually(lambda: has_ended(running, pid), what="another server")
    await eventually(lambda: writes_all(bus), what="writes")

    assert "models" in still_failing
    stored = await bus.get("models", "m")
    assert stored is not None
    assert await failing_streams(running.settings, facts=True) == ()
    assert [each.value async for each in bus.facts()] == [a_fact()]


async def fails(bus: NatsBus) -> bool:
    """Write until a write fails: what has its block on the disk already may find room in it."""
    try:
        await bus.put("models", "m", a_model())
    except PeerUnreachableError:
        return True
    return False


async def writes_all(bus: NatsBus) -> bool:
    """Write to each kind of stream on the disk."""
    try:
        await bus.put("models", "m", a_model())
        await bus.put("tenants", "m", a_model())
        await bus.record(a_fact())
    except PeerUnreachableError:
        return False
    return True


async def has_ended(running: Machine, pid: int) -> bool:
    """Tell whether another server runs by now."""
    return running.nats_pid() not in (0, pid)


@asynccontextmanager
async def machine(folder: Path, disk: SmallDisk) -> AsyncIterator[Machine]:
    """Run supervisord with both programs while the body runs."""
    port = free_port()
    passwords = {user: secrets.token_urlsafe(16) for user in USERS}
    conf = NatsConf(port=port, store_dir=str(disk.inside / "store"), passwords=passwords)
    private(folder / "nats.conf", render_nats_conf(conf))
    for user in (ADMIN, NATS_WATCH):
        text = render_credentials(f"nats://127.0.0.1:{port}", user, passwords[user])
        private(folder / f"{user}.json", text)
    private(folder / "supervisord.conf", supervisord_conf(folder, disk))
    supervisor = Supervisor(folder / "supervisor.sock")
    supervisor.launch(folder / "supervisord.conf", {"PYTHONPATH": ":".join(sys.path)})
    settings = BusSettings(credentials=read_credentials(folder / f"{ADMIN}.json"))
    try:
        supervisor.start("nats")
        await provision(settings)
        supervisor.start("watch")
        yield Machine(disk=disk, supervisor=supervisor, settings=settings)
    finally:
        supervisor.shutdown()
        await eventually(lambda: has_shut_down(supervisor), what="the end of supervisord")


async def has_shut_down(supervisor: Supervisor) -> bool:
    """Tell whether supervisord has ended."""
    return not supervisor.alive()


def supervisord_conf(folder: Path, disk: SmallDisk) -> str:
    """Render both programs as `up` runs them, the server where the disk is."""
    nats = (*disk.enter, str(find_nats_server(None)), "-c", str(folder / "nats.conf"))
    watch = (
        *(sys.executable, "-m", "deploy.local.nats_watch", str(folder / f"{NATS_WATCH}.json")),
        *(str(disk.outside / "store"), str(folder / "supervisor.sock"), "nats"),
    )
    return f"""\
[unix_http_server]
file = {folder}/supervisor.sock
chmod = 0600
[supervisord]
logfile = {folder}/supervisor.log
pidfile = {folder}/supervisor.pid
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[program:nats]
command = {" ".join(nats)}
autostart = false
autorestart = unexpected
stdout_logfile = {folder}/nats.log
redirect_stderr = true
[program:watch]
command = {" ".join(watch)}
directory = {ROOT}
autostart = false
stdout_logfile = {folder}/watch.log
redirect_stderr = true
"""


def private(file: Path, text: str) -> None:
    """Write a file that is its owner's alone."""
    file.touch(mode=0o600)
    file.write_text(text)
