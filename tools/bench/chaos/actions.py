"""What each fault does to the stack; each returns when the fault itself is over."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, assert_never

import httpx

from libs.bus.nats_bus import NatsBus, connect
from libs.bus.permissions import ADMIN
from libs.bus.ports import Entry
from libs.bus.settings import BusSettings, read_credentials
from libs.contracts.subjects import TENANTS_BUCKET
from libs.errors import TransientError
from libs.testing.certificates import make_certificate, served_name
from tools.bench.chaos.clients import Access
from tools.bench.chaos.faults import (
    Action,
    Apply,
    DamageStore,
    FillDisk,
    Kill,
    LoseStore,
    ReplaceCertificate,
    Revoke,
    Scale,
    Stop,
    Target,
)
from tools.bench.chaos.processes import kill, pick, processes_of, send
from tools.bench.chaos.world import MODEL, ChaosStackError, World, models_text

_POLL_S: Final = 0.2
_WITHIN_S: Final = 30.0
_REPLICA_S: Final = 180.0
_DAMAGED_BYTES: Final = 64
_DAMAGE_EVERY: Final = 4096


async def act(action: Action, world: World, *, at: float) -> float:
    """Do it, and undo what is to be undone; `at`, 0 up to 1, chooses among several.

    Returns the moment from which the stack could mend itself, on the run's clock.

    Raises:
        ChaosStackError: it had not the effect that it should have, or cannot be done.
    """
    match action:
        case Kill(target=target):
            return await _kill(world, target, at)
        case Stop(target=target, for_s=for_s):
            await _stop(world, target, at, for_s)
        case FillDisk(for_s=for_s):
            await asyncio.to_thread(_fill, world.stack.var, for_s)
        case LoseStore():
            await _hurt_store(world, _delete)
        case DamageStore():
            await _hurt_store(world, lambda store: _damage(store, seed=at))
        case ReplaceCertificate():
            await _replace_certificate(world, at)
        case Scale():
            await _scale(world)
        case Apply():
            await _apply(world)
        case Revoke():
            await _revoke(world)
        case _:
            assert_never(action)
    return time.monotonic()


async def _kill(world: World, target: Target, at: float) -> float:
    before = len(processes_of(world.stack_id, target))
    killed = _pid(world, target, at)
    kill(killed)
    over_s = time.monotonic()
    if target is Target.SUPERVISOR:
        await _sluice(world, "up", "--detach", "--port", str(world.stack.port))

    async def are_back() -> bool:
        found = await asyncio.to_thread(processes_of, world.stack_id, target)
        return len([each for each in found if each.pid != killed]) >= before

    await _until(are_back, what=f"{target} is back", within_s=_REPLICA_S)
    return over_s


async def _stop(world: World, target: Target, at: float, for_s: float) -> None:
    pid = _pid(world, target, at)
    send(pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(for_s)
    finally:
        send(pid, signal.SIGCONT)


def _pid(world: World, target: Target, at: float) -> int:
    found = pick(processes_of(world.stack_id, target), at)
    if found is None:
        raise ChaosStackError(f"{target} does not run")
    return found.pid


async def _runs(world: World, target: Target) -> bool:
    return bool(await asyncio.to_thread(processes_of, world.stack_id, target))


def _fill(folder: Path, for_s: float) -> None:
    """Take every block, and again what is freed meanwhile."""
    filling = folder / "chaos-filling"
    until_s = time.monotonic() + for_s
    try:
        with filling.open("wb") as out:
            while time.monotonic() < until_s:
                free = os.statvfs(folder)
                size = free.f_bavail * free.f_frsize
                if size:
                    os.posix_fallocate(out.fileno(), out.seek(0, os.SEEK_END), size)
                time.sleep(_POLL_S)
    except OSError:
        time.sleep(max(0.0, until_s - time.monotonic()))
    finally:
        filling.unlink(missing_ok=True)


async def _hurt_store(world: World, hurt: Callable[[Path], None]) -> None:
    """Kill NATS, damage its store before supervisord restarts it, and declare everything again."""
    tenants = await _tenants(world)
    nurse = _pid(world, Target.SUPERVISOR, 0.0)
    send(nurse, signal.SIGSTOP)
    try:
        kill(_pid(world, Target.NATS, 0.0))
        await _until(lambda: _is_gone(world), what="NATS has ended")
        hurt(world.stack.var / "nats" / "store")
    finally:
        send(nurse, signal.SIGCONT)
    await _until(lambda: _runs(world, Target.NATS), what="NATS is back")
    await _until(lambda: _applies(world), what="`sluice apply` works again")
    async with _admin(world) as bus:
        for each in tenants:
            await bus.put(TENANTS_BUCKET, each.key, each.value)


async def _is_gone(world: World) -> bool:
    return not await _runs(world, Target.NATS)


async def _applies(world: World) -> bool:
    try:
        await _sluice(world, "apply", str(world.models_file))
    except ChaosStackError:
        return False
    return True


def _delete(store: Path) -> None:
    shutil.rmtree(store, ignore_errors=True)


def _damage(store: Path, *, seed: float) -> None:
    """Overwrite a few bytes in every page or so of every file."""
    source = random.Random(seed)  # noqa: S311 - a seed must give the same damage again
    for file in sorted(path for path in store.rglob("*") if path.is_file()):
        size = file.stat().st_size
        with file.open("r+b") as out:
            for start in range(0, size, _DAMAGE_EVERY):
                out.seek(start + source.randrange(min(_DAMAGE_EVERY, size - start)))
                out.write(source.randbytes(_DAMAGED_BYTES))
            out.truncate(size)


async def _tenants(world: World) -> list[Entry]:
    async with _admin(world) as bus, bus.view(TENANTS_BUCKET) as view:
        return list(view.snapshot().entries.values())


@asynccontextmanager
async def _admin(world: World) -> AsyncIterator[NatsBus]:
    credentials = read_credentials(world.stack.run / "secrets" / f"nats-{ADMIN}.json")
    async with connect(BusSettings(credentials=credentials, name="chaos")) as bus:
        yield bus


async def _replace_certificate(world: World, at: float) -> None:
    name = f"chaos-{at:.6f}"
    beside = world.certificate.with_suffix(".new")
    beside.write_text(make_certificate(name))
    beside.replace(world.certificate)

    async def served() -> bool:
        try:
            return await served_name(world.stack.port) == name
        except OSError:
            return False

    await _until(served, what="the new certificate is served")


async def _scale(world: World) -> None:
    more = world.replicas + 1
    await _sluice(world, "scale", MODEL, str(more))

    async def are_ready() -> bool:
        return len((await world.inside.look_async()).servers) == more

    await _until(are_ready, what=f"{more} replicas are ready", within_s=_REPLICA_S)
    await _sluice(world, "scale", MODEL, "auto")


async def _apply(world: World) -> None:
    alias = "chaos-alias"
    world.models_file.write_text(models_text(world.replicas, world.access.pace, aliases=(alias,)))
    await _sluice(world, "apply", str(world.models_file))
    await _until(lambda: _answers(world.access, alias, 200), what="the new alias is served")
    world.models_file.write_text(models_text(world.replicas, world.access.pace))
    await _sluice(world, "apply", str(world.models_file))
    await _until(lambda: _answers(world.access, alias, 404), what="the old alias is refused")


async def _revoke(world: World) -> None:
    name = f"guest-{os.urandom(4).hex()}"
    key = (await _sluice(world, "tenant", "add", name)).strip()
    guest = Access(url=world.access.url, model=MODEL, trust=world.access.trust, key=key)
    await _until(lambda: _answers(guest, MODEL, 200), what="the new tenant is served")
    await _sluice(world, "tenant", "revoke", name)
    await _until(lambda: _answers(guest, MODEL, 401), what="the revoked tenant is refused")


async def _answers(access: Access, model: str, status: int) -> bool:
    body = {"model": model, "prompt": "x", "max_tokens": 1}
    try:
        async with access.client(timeout_s=_WITHIN_S) as http:
            return (await http.post("/v1/completions", json=body)).status_code == status
    except httpx.HTTPError:
        return False


async def _sluice(world: World, *arguments: str) -> str:
    return (await asyncio.to_thread(world.sluice, *arguments)).out


async def _until(
    condition: Callable[[], Awaitable[bool]], *, what: str, within_s: float = _WITHIN_S
) -> None:
    """Ask until it is so.

    Raises:
        ChaosStackError: it was not in time.
    """
    until_s = time.monotonic() + within_s
    while True:
        try:
            if await condition():
                return
        except TransientError as exc:
            what = f"{what} ({exc})"
        if time.monotonic() > until_s:
            raise ChaosStackError(f"not within {within_s:g} s: {what}")
        await asyncio.sleep(_POLL_S)
