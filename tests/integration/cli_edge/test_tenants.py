"""`./sluice tenant` as a user runs it, up to a real HAProxy that asks for the key."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import pytest

from libs.bus.permissions import CLI
from libs.contracts.tenant import key_hash
from libs.testing.edge_world import EdgeWorld, edge_world
from libs.testing.eventually import eventually
from libs.testing.local_stack import ROOT, Done, sluice
from tools.cli.stack.layout import layout
from tools.cli.stack.record import StackRecord, save


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """An edge with the files by which the command line finds it."""

    world: EdgeWorld

    async def sluice(self, *arguments: str) -> Done:
        """Run one command."""
        return await asyncio.to_thread(sluice, *arguments, var=self.world.folder / "var")

    async def add(self, name: str, *options: str) -> str:
        """Add a tenant and return its key."""
        done = await self.sluice("tenant", "add", name, *options)
        assert done.code == 0, done
        return done.out.strip()

    async def until(self, status: int, key: str | None) -> httpx.Response:
        """Wait until a request with this key gets a status, and return the answer."""
        headers = {"authorization": f"Bearer {key}"} if key else {}

        async def answered() -> httpx.Response | None:
            answer = await self.world.http.post(
                "/v1/chat/completions", json={"model": "m"}, headers=headers
            )
            return answer if answer.status_code == status else None

        found = await eventually(answered, what=f"a {status}")
        assert found is not None
        return found


@pytest.fixture
async def stack() -> AsyncIterator[Stack]:
    """Run an edge with one replica, and write the files of a stack."""
    async with edge_world() as world:
        place = layout(root=ROOT, var=world.folder / "var", models=None, user_id=os.getuid())
        record = StackRecord(
            stack_id="test",
            started_at=0.0,
            api_host="127.0.0.1",
            api_port=int(world.router_config.settings["api_port"]),
            nats_port=world.nats.port,
            stats_port=1,
            ray_port=1,
            ray_agent_port=1,
            dashboard_port=1,
        )
        save(record, place.record)
        place.secrets.mkdir(parents=True)
        world.nats.write_credentials(CLI, place.credentials(CLI))
        await world.join(await world.replica("r1"))
        await world.until_answers(200)
        try:
            yield Stack(world=world)
        finally:
            shutil.rmtree(place.run)


async def test_a_tenant_is_added_limited_and_revoked_live(stack: Stack) -> None:
    """Its key is shown once and stored nowhere."""
    key = await stack.add("acme", "--requests-per-minute", "600", "--priority", "high")
    await stack.until(401, None)
    await stack.until(200, key)
    asked = await stack.sluice("chat", "hello", "--model", "m", "--api-key", key)
    listed = await stack.sluice("tenant", "list", "--json")
    beta = await stack.add("beta")
    limited = await stack.sluice("tenant", "limit", "acme", "--requests-per-minute", "1")
    refused = await stack.until(429, key)
    await stack.until(200, beta)
    revoked = await stack.sluice("tenant", "revoke", "acme")
    await stack.until(401, key)
    table = await stack.sluice("tenant", "list")

    assert re.fullmatch(r"sk-sluice-[A-Za-z0-9_-]{43}", key)
    assert (asked.code, asked.out.strip()) == (0, "t0 t1 t2 t3 t4"), asked
    assert json.loads(listed.out)["tenants"] == [
        {
            "name": "acme",
            "requests_per_minute": 600,
            "concurrent_requests": None,
            "priority": "high",
            "revoked": False,
        }
    ]
    assert (limited.code, revoked.code) == (0, 0)
    assert int(refused.headers["retry-after"]) >= 1
    assert "revoked" in table.out
    stored = b"".join(file.read_bytes() for file in stack.world.folder.rglob("*") if file.is_file())
    assert key.encode() not in stored
    assert key_hash(key).encode() in stored


async def test_the_last_tenants_end_opens_nothing_before_it_is_said(stack: Stack) -> None:
    """`tenant open` is refused while somebody has a key."""
    key = await stack.add("acme")
    await stack.until(401, None)

    early = await stack.sluice("tenant", "open")
    revoked = await stack.sluice("tenant", "revoke", "acme")
    await stack.until(401, key)
    closed = await stack.until(401, None)
    opened = await stack.sluice("tenant", "open")
    await stack.until(200, None)

    assert (early.code, revoked.code, opened.code) == (2, 0, 0)
    assert "revoke every tenant first; there is: acme" in early.err
    assert "every request is rejected" in revoked.err
    assert closed.json()["error"]["code"] == "invalid_api_key"


async def test_bad_input_is_one_line_and_exit_code_2(stack: Stack) -> None:
    """And changes nothing."""
    await stack.add("acme")
    attempts = {
        "add acme": "tenant acme is there already",
        "add beta --concurrent 0": "between 1 and",
        "limit beta --concurrent 1": "no tenant 'beta' is declared; there is: acme",
        "revoke beta": "no tenant 'beta' is declared; there is: acme",
    }

    for words, told in attempts.items():
        done = await stack.sluice("tenant", *words.split())
        (line,) = done.err.strip().splitlines()
        assert done.code == 2, done
        assert told in line
    listed = await stack.sluice("tenant", "list", "--json")
    assert [each["name"] for each in json.loads(listed.out)["tenants"]] == ["acme"]
