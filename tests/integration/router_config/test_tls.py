"""TLS by a certificate file that is followed as it changes, at a real HAProxy."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import ssl
import stat
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from libs.testing.certificates import make_certificate, make_key, served_name, trusting_anything
from libs.testing.edge_world import EdgeWorld, edge_world, haproxy_pid
from libs.testing.eventually import eventually
from libs.testing.fake_replica import Script
from libs.testing.http2 import post_over_http2
from libs.testing.records import a_model


def certificate_file(world: EdgeWorld) -> Path:
    """Return where the person's certificate is."""
    return world.folder / "person.pem"


def port_of(world: EdgeWorld) -> int:
    """Return the API's port."""
    return int(world.router_config.settings["api_port"])


def put(world: EdgeWorld, pem: str) -> None:
    """Replace the person's file, as certificate tools do."""
    beside = world.folder / "person.new"
    beside.write_text(pem)
    beside.replace(certificate_file(world))


async def until_served(world: EdgeWorld, name: str) -> None:
    """Wait until new connections see a certificate."""

    async def served() -> bool:
        with suppress(OSError):
            return await served_name(port_of(world)) == name
        return False

    await eventually(served, what=f"the certificate of {name}")


async def until_degraded(world: EdgeWorld, text: str) -> None:
    """Wait until the status says something; nothing for an empty text."""

    async def told() -> bool:
        status = await world.status()
        return status is not None and (text in status.degraded if text else not status.degraded)

    await eventually(told, what=f"a status that says {text!r}")


@pytest.fixture
async def world() -> AsyncIterator[EdgeWorld]:
    """Offer an edge that serves the certificate of `one`, and a client that takes any."""
    async with edge_world(start=False) as made:
        put(made, make_certificate("one"))
        made.http = httpx.AsyncClient(
            base_url=f"https://127.0.0.1:{port_of(made)}", verify=trusting_anything(), timeout=30
        )
        await made.router_config.start(tls_certificate_file=certificate_file(made))
        await made.until_up()
        yield made
        await made.http.aclose()


async def test_a_replaced_file_is_served_without_a_reload_and_a_stream_spans_it(
    world: EdgeWorld,
) -> None:
    """Connections that exist keep their certificate, and every token."""
    replica = await world.replica("r1", Script(tokens=30, token_s=0.1))
    await world.declare(a_model())
    await world.join(replica)
    await world.until_servers(1)
    before = await served_name(port_of(world))

    async with world.http.stream(
        "POST", "/v1/chat/completions", json={"model": "m", "stream": True}
    ) as stream:
        lines = stream.aiter_lines()
        await anext(lines)
        put(world, make_certificate("two"))
        await until_served(world, "two")
        midway = replica.completed
        rest = [line async for line in lines if line]

    assert (before, midway, replica.completed) == ("one", 0, 1)
    assert len(rest) == 30
    assert rest[-1] == "data: [DONE]"
    assert (await world.until_servers(1)).reloads == 0


async def test_a_broken_file_leaves_the_old_certificate_and_is_told_once(
    world: EdgeWorld,
) -> None:
    """So does one that is gone; once it is mended nothing is left of it."""
    mismatched = make_certificate("two").partition("-----BEGIN PRIVATE")[0] + make_key()

    put(world, mismatched)
    await until_degraded(world, "key values mismatch")
    await asyncio.sleep(2)
    for content, told in (
        ("", "(unreadable)"),
        ("x" * 100_000, "larger than"),
        ("é", "no PEM file"),
    ):
        put(world, content)
        await until_degraded(world, told)
    certificate_file(world).unlink()
    await until_degraded(world, "No such file")
    during = await served_name(port_of(world))
    put(world, make_certificate("three"))
    await until_served(world, "three")
    await until_degraded(world, "")

    assert during == "one"
    warned = [str(line["reason"]) for line in world.log_lines("certificate_unusable")]
    assert len(warned) == len(set(warned)) == 5
    assert all("person.pem" in reason for reason in warned)


async def test_haproxy_starts_from_the_last_good_certificate(world: EdgeWorld) -> None:
    """However broken the file is at that moment."""
    put(world, make_certificate("two"))
    await until_served(world, "two")
    put(world, "broken")
    await until_degraded(world, "certificate:")
    before = haproxy_pid(world.folder)

    os.kill(before, signal.SIGKILL)

    await until_served(world, "two")
    assert haproxy_pid(world.folder) != before
    copy = world.folder / "state" / "certificate.pem"
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600


async def test_an_adopted_haproxy_gets_what_changed_while_nobody_looked(world: EdgeWorld) -> None:
    """router-config was dead when the file was replaced."""
    pid = haproxy_pid(world.folder)

    await world.router_config.kill()
    put(world, make_certificate("two"))
    await world.router_config.start()
    await until_served(world, "two")

    assert haproxy_pid(world.folder) == pid
    assert not [line for line in world.log_lines("routing_applied") if line["reload"]]


async def test_a_stream_arrives_whole_over_http2(world: EdgeWorld) -> None:
    """Clients that offer it get it, token by token."""
    replica = await world.replica("r1", Script(tokens=20, token_s=0.02))
    await world.declare(a_model())
    await world.join(replica)
    await world.until_servers(1)

    body = json.dumps({"model": "m", "stream": True}).encode()
    answer = await post_over_http2(port_of(world), "/v1/chat/completions", body)

    assert answer.data.decode().count("data: ") == 21
    assert answer.data.rstrip().endswith(b"data: [DONE]")
    assert answer.frames >= 20


async def test_without_a_usable_file_the_first_start_is_refused() -> None:
    """Exit code 2 and one line that names the file."""
    async with edge_world(start=False) as world:
        missing = world.folder / "nowhere.pem"
        await world.router_config.start(tls_certificate_file=missing)
        code = await world.router_config.ended()

        said = (world.folder / "router-config.log").read_text().splitlines()

    assert code == 2
    assert f"{missing}: No such file" in said[-1]


@pytest.mark.parametrize(
    ("ciphers", "is_taken"),
    [
        ("ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES128-GCM-SHA256", True),
        ("ECDHE-RSA-CHACHA20-POLY1305:ECDHE-ECDSA-CHACHA20-POLY1305", True),
        ("ECDHE-RSA-AES128-SHA:ECDHE-ECDSA-AES128-SHA:ECDHE-ECDSA-AES256-SHA384", False),
        ("AES128-GCM-SHA256:AES256-GCM-SHA384:AES128-SHA256", False),
        ("DHE-RSA-AES128-GCM-SHA256", False),
    ],
)
async def test_tls_1_2_is_forward_secret_and_authenticated_or_refused(
    world: EdgeWorld, *, ciphers: str, is_taken: bool
) -> None:
    """Neither CBC nor keys that a stolen certificate would open later."""
    context = trusting_anything()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(ciphers)

    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port_of(world), ssl=context)
    except (ssl.SSLError, ConnectionError):
        taken = False
    else:
        writer.close()
        taken = True

    assert taken is is_taken
