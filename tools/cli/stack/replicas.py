"""`up --replicas N`: the same models with another number of replicas, if they fit here (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from libs.contracts.model_spec import Device, ModelSpec
from libs.engine.arguments import GIB
from libs.engine.memory import PROCESSES_BYTES
from libs.errors import UsageError

WORKER_BYTES: Final = GIB // 2
"""What one more worker of a replica takes before it loads anything."""


def with_replicas(specs: Sequence[ModelSpec], count: int | None) -> tuple[ModelSpec, ...]:
    """Return the models with this many replicas at least; None leaves each as its file says.

    A `scaling.max` below the number rises to it.
    """
    if count is None:
        return tuple(specs)
    return tuple(
        replace(spec, scaling=replace(spec.scaling, min=count, max=max(count, spec.scaling.max)))
        for spec in specs
    )


def require_room(specs: Sequence[ModelSpec], *, slots: int, available_bytes: int | None) -> None:
    """Refuse replicas that cannot start; memory that the machine does not tell passes.

    Raises:
        UsageError: there are more workers than device slots, or more memory is needed.
    """
    workers = sum(
        spec.scaling.min * spec.engine.tensor_parallel_size
        for spec in specs
        if spec.device is not Device.CUDA
    )
    if workers > slots:
        raise UsageError(f"--replicas asks for {workers} workers, this node has room for {slots}")
    needed_bytes = sum(spec.scaling.min * _replica_bytes(spec) for spec in specs)
    if available_bytes is not None and needed_bytes > available_bytes:
        replicas = sum(spec.scaling.min for spec in specs)
        raise UsageError(
            f"{replicas} replicas need about {needed_bytes / GIB:.1f} GiB of memory, "
            f"{available_bytes / GIB:.1f} GiB are free; ask for fewer with --replicas"
        )


def _replica_bytes(spec: ModelSpec) -> int:
    """What the processes of one replica take, weights left out."""
    more_workers = spec.engine.tensor_parallel_size - 1
    cache_bytes = int(spec.engine.kv_cache_gib * GIB) if spec.device is Device.CPU else 0
    return PROCESSES_BYTES + more_workers * WORKER_BYTES + cache_bytes
