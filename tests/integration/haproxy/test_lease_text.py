"""Text of leases in a real HAProxy: what the contracts accept, its files and commands carry."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from libs.contracts.ids import alias
from libs.contracts.lease import Endpoint, UnixEndpoint
from libs.haproxy.client import HaproxyClient
from libs.haproxy.codec import Ok
from libs.haproxy.commands import AddServer, ServerSpec, ShowMap
from libs.haproxy.config import MODELS_MAP, Balance, PoolConfig
from libs.haproxy.tables import parse_map
from libs.testing.real_haproxy import edge_config, real_haproxy, short_folder

CHARACTERS = [chr(code) for code in (*range(256), 0x2028, 0x3042, 0x1F600, 0xFF1B)]
"""All of Latin-1, a line separator, a letter, a symbol and a wide semicolon."""

HOSTS = ("10.0.0.1", "::1", "2001:db8::1", "replica-0.example")


def accepted_paths() -> list[str]:
    """Return a path with each character that a lease may have, inside and at both ends."""
    found: list[str] = []
    for each in CHARACTERS:
        for name in (f"{each}x", f"x{each}x", f"x{each}", f"x{each}{each}"):
            with suppress(ValueError):
                found.append(UnixEndpoint(path=f"/run/{name}").path)
    return found


def accepted_names() -> list[str]:
    """Return a name that clients may send, with each character that it may have."""
    found: list[str] = []
    for each in CHARACTERS:
        for name in (f"{each}x", f"x{each}x", f"x{each}"):
            with suppress(ValueError):
                found.append(alias(name))
    return sorted(set(found))


def servers() -> tuple[ServerSpec, ...]:
    """Return a server at each address that a lease may have."""
    addresses = [str(UnixEndpoint(path=path)) for path in accepted_paths()]
    addresses += [str(Endpoint(host=host, port=1)) for host in HOSTS if "example" not in host]
    return tuple(
        ServerSpec(name=f"r{number}.aa", number=number, address=address, weight=1, maxconn=1)
        for number, address in enumerate(addresses, start=1)
    )


async def test_haproxy_starts_with_every_address_and_name_that_a_record_may_have() -> None:
    """Each is one word of its line, so that all servers are there, and no line is two."""
    wanted = servers()
    names = accepted_names()
    routes = tuple((name, "lc0:m:python") for name in names)
    pool = PoolConfig(name="lc0", balance=Balance.LEAST_LOADED, servers=wanted, python_servers=())

    with short_folder() as folder:
        config = edge_config(folder)
        async with real_haproxy(config, (pool,), routes=routes):
            client = HaproxyClient(config.admin_socket, timeout_s=5)
            shown = parse_map(await client.query(ShowMap(file=MODELS_MAP)))

    assert len(wanted) > 300
    assert dict(shown) == dict(routes)


async def test_haproxy_takes_every_address_at_runtime() -> None:
    """And each command is one command."""
    pool = PoolConfig(name="lc0", balance=Balance.LEAST_LOADED, servers=(), python_servers=())

    with short_folder() as folder:
        config = edge_config(folder)
        async with real_haproxy(config, (pool,)):
            client = HaproxyClient(config.admin_socket, timeout_s=5)
            replies = {
                server.address: await client.execute(
                    AddServer(pool="lc0", server=replace(server, name=f"r{server.number}.bb"))
                )
                for server in servers()
            }

    assert {at: reply for at, reply in replies.items() if not isinstance(reply, Ok)} == {}
