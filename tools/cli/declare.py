"""`sluice apply` and `sluice scale`: write what a person wants."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from libs.bus.nats_bus import NatsBus
from libs.bus.ports import BucketView, Record, StateStore
from libs.clock import Clock
from libs.contracts.ids import ModelName, model_name
from libs.contracts.model_spec import ModelSpec
from libs.contracts.subjects import (
    LEADERS_BUCKET,
    MODELS_BUCKET,
    TARGETS_BUCKET,
    manual_target_key,
)
from libs.contracts.targets import DecidedTarget, ManualTarget
from libs.engine.adapters import check_adapters
from libs.engine.memory import check_memory
from libs.engine.sources import resolve_source
from libs.errors import ControlPlaneError, TransientError, UsageError
from tools.cli.effect import Expected, not_acted_on
from tools.cli.health import autoscaler_status
from tools.cli.model_changes import ModelChanges
from tools.cli.observe import leader, stored_models
from tools.cli.stack.layout import Layout

EFFECT_S: Final = 15.0
"""The autoscaler acts within a second; after a restart it first has to lead again."""

_POLL_S: Final = 0.2


class UnknownModelError(UsageError):
    """No such model is declared."""


class ModelsChangedError(TransientError):
    """Another command changed the models at the same time."""


class NoEffectError(ControlPlaneError):
    """What was written has no effect yet."""


def check_sources(specs: Sequence[ModelSpec], layout: Layout) -> None:
    """Check that every model's source is there and fits into this machine's free memory.

    Raises:
        UsageError: a directory is missing, a model is too large for the memory, or an adapter
            cannot be loaded.
    """
    for spec in specs:
        check_memory(spec, resolve_source(spec.source, models_dir=layout.models))
        check_adapters(spec)


def check_changes(changes: ModelChanges, layout: Layout) -> None:
    """Check what is about to be written, before anybody acts on it; raises as `check_sources`.

    A changed model's own source is not weighed again: its replicas hold the memory already.
    """
    check_sources(changes.added, layout)
    for _, new in changes.changed:
        check_adapters(new)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredModels:
    """The declared models as they were read.

    Attributes:
        revisions: of each record, by its key.
        unreadable: keys of invalid records, which `apply` may overwrite.
    """

    specs: Mapping[ModelName, ModelSpec]
    revisions: Mapping[str, int]
    unreadable: frozenset[str]


async def read_models(bus: StateStore) -> StoredModels:
    """Read the declared models, to change them."""
    async with bus.view(MODELS_BUCKET) as view:
        snapshot = view.snapshot()
    entries = snapshot.entries.values()
    return StoredModels(
        specs={
            each.value.name: each.value for each in entries if isinstance(each.value, ModelSpec)
        },
        revisions={each.key: each.revision for each in entries},
        unreadable=frozenset(snapshot.rejected),
    )


async def write_changes(bus: StateStore, changes: ModelChanges, stored: StoredModels) -> None:
    """Write added and changed models and remove the removed ones, with their manual targets.

    Raises:
        ModelsChangedError: another command changed some of them since they were read; those stay
            unchanged, all others are written.
    """
    wanted = (*changes.added, *(new for _, new in changes.changed))
    lost = [spec.name for spec in wanted if not await _write(bus, spec, stored)]
    lost += [spec.name for spec in changes.removed if not await _remove(bus, spec, stored)]
    if lost:
        raise ModelsChangedError(
            f"another command changed {', '.join(lost)} at the same time; everything else is"
            " written: check with `./sluice apply FILE --dry-run` and apply again"
        )


async def _write(bus: StateStore, spec: ModelSpec, stored: StoredModels) -> bool:
    """Write one model if its record is unchanged since it was read."""
    if spec.name in stored.unreadable:
        await bus.put(MODELS_BUCKET, spec.name, spec)
        return True
    revision = stored.revisions.get(spec.name, 0)
    return await bus.put_if(MODELS_BUCKET, spec.name, spec, revision=revision) is not None


async def _remove(bus: StateStore, spec: ModelSpec, stored: StoredModels) -> bool:
    """Remove one model and its manual target if its record is unchanged since it was read."""
    revision = stored.revisions[spec.name]
    is_done = await bus.delete(MODELS_BUCKET, spec.name, revision=revision)
    if is_done:
        await bus.delete(TARGETS_BUCKET, manual_target_key(spec.name))
    return is_done


async def set_manual_target(bus: NatsBus, model: str, replicas: int | None) -> ModelName:
    """Pin a model's target; None gives it back to the autoscaler.

    Raises:
        UnknownModelError: the model is not declared; the message lists those that are.
    """
    known = await stored_models(bus)
    if model not in known:
        listed = ", ".join(sorted(known)) or "none"
        raise UnknownModelError(f"no model {model!r} is declared; there is: {listed}")
    name = model_name(model)
    if replicas is None:
        await bus.delete(TARGETS_BUCKET, manual_target_key(name))
        return name
    target = ManualTarget(model=name, replicas=replicas, set_at=time.time())
    await bus.put(TARGETS_BUCKET, manual_target_key(name), target)
    return name


async def await_effect(bus: NatsBus, expected: Expected, *, clock: Clock) -> None:
    """Wait until the autoscaler has acted, or cannot be expected to.

    Raises:
        NoEffectError: it has not; the message says of which models and why. What was written stays.
    """
    async with bus.view(TARGETS_BUCKET) as targets, bus.view(LEADERS_BUCKET) as leaders:
        deadline = time.monotonic() + EFFECT_S
        while True:
            decided = [each for each in _records(targets) if isinstance(each, DecidedTarget)]
            waiting = not_acted_on(expected, decided)
            leads = autoscaler_status(leader(_records(leaders)), clock.now()).leads
            if leads and not waiting:
                return
            if time.monotonic() > deadline:
                raise NoEffectError(_missing(waiting, leads=bool(leads)))
            await targets.changed(timeout_s=_POLL_S)


def _records(view: BucketView) -> list[Record]:
    return [entry.value for entry in view.snapshot().entries.values()]


def _missing(waiting: Sequence[ModelName], *, leads: bool) -> str:
    what = f"written, but nothing has changed for {', '.join(waiting)}" if waiting else "written"
    why = (
        "the autoscaler leads and does not decide; see `./sluice logs autoscaler`"
        if leads
        else "no autoscaler leads; see `./sluice status`"
    )
    return f"{what} within {EFFECT_S:.0f} s: {why}"
