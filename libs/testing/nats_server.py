"""A real nats-server with Sluice's own configuration, in a folder of the test's."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import nats

from deploy.local.nats_binary import find_nats_server
from deploy.local.nats_conf import NatsConf, render_credentials, render_nats_conf
from libs.bus.permissions import ADMIN, USERS
from libs.bus.provision import provision
from libs.bus.settings import BusSettings, Credentials
from libs.contracts.subjects import bucket_stream
from libs.testing.free_port import free_port

START_TIMEOUT_S: Final = 30.0
STOP_TIMEOUT_S: Final = 5.0


class NatsServer:
    """One server, which can be killed and started again on the same port."""

    def __init__(self, folder: Path) -> None:
        """Choose a port and passwords; `start` starts it."""
        self.port = free_port()
        self._folder = folder
        self._passwords = {user: secrets.token_urlsafe(16) for user in USERS}
        self._server: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"nats://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        assert self._server is not None, "the server is not running"
        return self._server.pid

    def credentials(self, user: str) -> Credentials:
        """Return a user's way in."""
        return Credentials(url=self.url, user=user, password=self._passwords[user])

    def write_credentials(self, user: str, file: Path) -> Path:
        """Write a user's way in as services read it; returns the file, which is its owner's."""
        found = self.credentials(user)
        file.touch(mode=0o600)
        file.write_text(render_credentials(found.url, found.user, found.password))
        return file

    def settings(self, user: str) -> BusSettings:
        """Return bus settings for a user, a little more impatient than the defaults."""
        return BusSettings(
            credentials=self.credentials(user),
            name=f"test-{user}",
            request_timeout_s=1.0,
            redial_s=0.05,
            heartbeat_s=0.5,
        )

    async def start(self, *, provisioned: bool = True) -> None:
        """Start it and wait until it answers; with buckets and streams unless told otherwise."""
        assert self._server is None, "the server runs already"
        config = self._write_config()
        with (self._folder / "nats.log").open("ab") as log:
            self._server = await asyncio.create_subprocess_exec(
                str(find_nats_server(_named())),
                *("-c", str(config)),
                stdout=log,
                stderr=log,
                process_group=0,  # a terminal's Ctrl-C is for the one who started it
            )
        async with asyncio.timeout(START_TIMEOUT_S):
            await self._wait_listening()
        if provisioned:
            await provision(self.settings(ADMIN), timeout_s=START_TIMEOUT_S)

    async def kill(self) -> None:
        """End it as `kill -9` does: no goodbye to anybody."""
        assert self._server is not None, "the server is not running"
        server, self._server = self._server, None
        server.kill()
        await server.wait()

    async def restart(self, *, wipe: bool = False, provisioned: bool = True) -> None:
        """Kill it and start it again, on request with an empty disk."""
        await self.kill()
        if wipe:
            self.wipe()
        await self.start(provisioned=provisioned)

    def wipe(self) -> None:
        """Lose everything that was stored."""
        assert self._server is None, "only a server that is down can lose its disk"
        shutil.rmtree(self._store)

    async def lose(self, bucket: str) -> None:
        """Lose what a bucket holds while it runs; nothing is left, not even marks of removal."""
        found = self.credentials(ADMIN)
        client = await nats.connect(found.url, user=found.user, password=found.password)
        await client.jetstream().purge_stream(bucket_stream(bucket))
        await client.close()

    async def stop(self) -> None:
        """End it politely; a stopped one stays stopped."""
        if self._server is None:
            return
        server, self._server = self._server, None
        server.terminate()
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await server.wait()
        except TimeoutError:
            server.kill()
            await server.wait()

    @property
    def _store(self) -> Path:
        return self._folder / "jetstream"

    def _write_config(self) -> Path:
        path = self._folder / "nats.conf"
        conf = NatsConf(port=self.port, store_dir=str(self._store), passwords=self._passwords)
        path.touch(mode=0o600)
        path.write_text(render_nats_conf(conf))
        return path

    async def _wait_listening(self) -> None:
        while True:
            assert self._server is not None
            assert self._server.returncode is None, f"nats-server ended: see {self._folder}"
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                await asyncio.sleep(0.02)
                continue
            writer.close()
            await writer.wait_closed()
            return


@asynccontextmanager
async def nats_server(folder: Path, *, provisioned: bool = True) -> AsyncIterator[NatsServer]:
    """Run a server while the body runs."""
    server = NatsServer(folder)
    try:
        await server.start(provisioned=provisioned)
        yield server
    finally:
        await server.stop()


def _named() -> Path | None:
    named = os.environ.get("NATS_SERVER")
    return Path(named) if named else None
