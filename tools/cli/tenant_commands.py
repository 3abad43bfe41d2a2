"""The commands of `./sluice tenant`: options, help texts and what is printed."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Iterable
from typing import Annotated, Final

import typer
from rich.table import Table

from libs.contracts.tenant import Tenant
from tools.cli.console import err, out
from tools.cli.settings import CliSettings
from tools.cli.stack.bus import stack_bus
from tools.cli.stack.locate import here
from tools.cli.tenant_changes import PRIORITIES, UNLIMITED, Limits
from tools.cli.tenants import (
    add_tenant,
    limit_tenant,
    open_to_all,
    revoke_tenant,
    stored_tenants,
)

KEY_PREFIX: Final = "sk-sluice-"
_KEY_BYTES: Final = 32

app = typer.Typer(help="Manage API keys, rate limits and priorities.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="1 to 63 of a-z 0-9 _ -")]
PerMinute = Annotated[
    str | None,
    typer.Option("--requests-per-minute", metavar="N", help=f"A number, or `{UNLIMITED}`."),
]
AtOnce = Annotated[
    str | None,
    typer.Option(
        "--concurrent", metavar="N", help=f"Requests at once: a number, or `{UNLIMITED}`."
    ),
]
Before = Annotated[
    str | None,
    typer.Option("--priority", metavar="|".join(PRIORITIES), help="Who leaves a queue first."),
]


@app.command()
def add(
    name: Name,
    requests_per_minute: PerMinute = None,
    concurrent: AtOnce = None,
    priority: Before = None,
) -> None:
    """Add a tenant and print its key, once; with a tenant, every request needs a key."""
    limits = Limits(
        requests_per_minute=requests_per_minute, concurrent=concurrent, priority=priority
    )
    key = KEY_PREFIX + secrets.token_urlsafe(_KEY_BYTES)
    is_first = asyncio.run(_add(name, limits, key))
    err.print(f"The key of {name}; only its hash is kept, so it cannot be shown again:")
    print(key)
    if is_first:
        err.print("Every request needs a key from here on.")


@app.command()
def limit(
    name: Name,
    requests_per_minute: PerMinute = None,
    concurrent: AtOnce = None,
    priority: Before = None,
) -> None:
    """Change a tenant's limits; those that are not given stay as they are."""
    limits = Limits(
        requests_per_minute=requests_per_minute, concurrent=concurrent, priority=priority
    )
    out.print(_sentence(asyncio.run(_limit(name, limits))))


@app.command()
def revoke(name: Name) -> None:
    """Reject a tenant's key from now on; its running requests are finished."""
    if asyncio.run(_revoke(name)):
        err.print(
            "No tenant is left, so every request is rejected: add one with"
            " `./sluice tenant add NAME`, or serve requests without a key again with"
            " `./sluice tenant open`."
        )
    out.print(f"{name} is revoked.")


@app.command(name="open")
def open_() -> None:
    """Serve requests without a key again, once every tenant is revoked."""
    asyncio.run(_open())
    out.print("Requests need no key.")


@app.command(name="list")
def list_(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """List tenants with their limits; keys are not known."""
    tenants = asyncio.run(_list())
    if as_json:
        print(json.dumps({"tenants": [to_json(each) for each in tenants]}, indent=2))
    elif tenants:
        out.print(table(tenants))
    else:
        out.print("No tenant was ever added: requests need no key.")


def to_json(tenant: Tenant) -> dict[str, str | int | bool | None]:
    """Return plain values for `--json`; nothing of a key is in them."""
    return {
        "name": tenant.name,
        "requests_per_minute": tenant.requests_per_minute,
        "concurrent_requests": tenant.concurrent_requests,
        "priority": tenant.priority.name.lower(),
        "revoked": tenant.is_revoked,
    }


def table(tenants: Iterable[Tenant]) -> Table:
    """Render tenants for people."""
    heads = ("tenant", "requests/minute", "at once", "priority", "")
    made = Table(*heads, box=None, pad_edge=False)
    for each in tenants:
        made.add_row(
            each.name,
            _limit_text(each.requests_per_minute),
            _limit_text(each.concurrent_requests),
            each.priority.name.lower(),
            "revoked" if each.is_revoked else "",
        )
    return made


def _sentence(tenant: Tenant) -> str:
    rate, concurrent = tenant.requests_per_minute, tenant.concurrent_requests
    return (
        f"{tenant.name}: requests a minute {_limit_text(rate)}, at once {_limit_text(concurrent)},"
        f" priority {tenant.priority.name.lower()}"
    )


def _limit_text(value: int | None) -> str:
    return "unlimited" if value is None else str(value)


async def _add(name: str, limits: Limits, key: str) -> bool:
    async with stack_bus(here(CliSettings())) as bus:
        return await add_tenant(bus, name, limits, key=key)


async def _limit(name: str, limits: Limits) -> Tenant:
    async with stack_bus(here(CliSettings())) as bus:
        return await limit_tenant(bus, name, limits)


async def _revoke(name: str) -> bool:
    async with stack_bus(here(CliSettings())) as bus:
        return await revoke_tenant(bus, name)


async def _open() -> None:
    async with stack_bus(here(CliSettings())) as bus:
        await open_to_all(bus)


async def _list() -> list[Tenant]:
    async with stack_bus(here(CliSettings())) as bus:
        found = await stored_tenants(bus)
    return [found[name] for name in sorted(found)]
