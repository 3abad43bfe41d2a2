"""`sluice apply` and `sluice scale`: write what a person wants."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from libs.bus.nats_bus import NatsBus
from libs.bus.ports import BucketView, Record
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
from libs.errors import ControlPlaneError, UsageError
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


async def write_changes(bus: NatsBus, changes: ModelChanges) -> None:
    """Write added and changed models and remove the removed ones, with their manual targets."""
    for spec in (*changes.added, *(new for _, new in changes.changed)):
        await bus.put(MODELS_BUCKET, spec.name, spec)
    for spec in changes.removed:
        await bus.delete(MODELS_BUCKET, spec.name)
        await bus.delete(TARGETS_BUCKET, manual_target_key(spec.name))


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
