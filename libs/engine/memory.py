"""Whether a model fits into this machine's memory, told before a minute is spent on loading it.

    needed = parameters * bytes of the dtype + KV cache + what the processes themselves take

Only local folders with safetensors can be judged, and only on CPU: vLLM measures a GPU itself.
"""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Final

from libs.contracts.model_spec import Device, ModelSpec
from libs.engine.arguments import GIB, dtype_of
from libs.engine.sources import ModelSource
from libs.errors import UsageError

PROCESSES_BYTES: Final = int(1.5 * GIB)
"""Python, torch and vLLM in the replica, the engine core and one worker, measured."""

BYTES_PER_ELEMENT: Final = {
    "float64": 8,
    "float32": 4,
    "float": 4,
    "float16": 2,
    "half": 2,
    "bfloat16": 2,
}
_AUTO_BYTES: Final = 2
_HEADER_BYTES_MAX: Final = 100_000_000
"""Source: safetensors format, https://github.com/huggingface/safetensors."""

_MEMINFO: Final = Path("/proc/meminfo")
_CGROUP: Final = Path("/sys/fs/cgroup")


def check_memory(
    spec: ModelSpec, source: ModelSource, *, available_bytes: int | None = None
) -> None:
    """Refuse a model that cannot fit; what cannot be judged passes.

    Raises:
        UsageError: the model needs more memory than there is.
    """
    needed_bytes = estimate_memory_bytes(spec, source)
    free_bytes = available_memory_bytes() if available_bytes is None else available_bytes
    if needed_bytes is None or free_bytes is None or needed_bytes <= free_bytes:
        return
    raise UsageError(
        f"Model {spec.name} is too large for memory: it needs about {_gib(needed_bytes)}, "
        f"{_gib(free_bytes)} are free. Choose a smaller model, a smaller engine.kv_cache_gib, "
        "or stop other programs."
    )


def estimate_memory_bytes(spec: ModelSpec, source: ModelSource) -> int | None:
    """Return what a replica on CPU needs; None when the folder does not tell."""
    if spec.device is not Device.CPU or source.folder is None:
        return None
    parameters = count_parameters(source.folder)
    if parameters is None:
        return None
    element_bytes = BYTES_PER_ELEMENT.get(dtype_of(spec) or "", _AUTO_BYTES)
    return parameters * element_bytes + int(spec.engine.kv_cache_gib * GIB) + PROCESSES_BYTES


def count_parameters(folder: Path) -> int | None:
    """Count the elements in a folder's safetensors; None when there are none or one is broken."""
    counts = [_elements(path) for path in sorted(folder.glob("*.safetensors"))]
    known = [count for count in counts if count is not None]
    return sum(known) if known and len(known) == len(counts) else None


def available_memory_bytes() -> int | None:
    """Return how much memory this process may still use; None when the machine does not say.

    Source: proc(5), MemAvailable; cgroups v2, memory.max and memory.current.
    """
    limits = [limit for limit in (_machine_bytes(), _cgroup_bytes()) if limit is not None]
    return min(limits) if limits else None


def _elements(path: Path) -> int | None:
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > _HEADER_BYTES_MAX:
                return None
            header = json.loads(file.read(length))
        shapes = [entry["shape"] for name, entry in header.items() if name != "__metadata__"]
        return sum(int(math.prod(shape)) for shape in shapes)
    except (OSError, ValueError, struct.error, KeyError, TypeError, AttributeError):
        return None


def _machine_bytes() -> int | None:
    try:
        lines = _MEMINFO.read_text().splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return int(found[0]) * 1024 if found else None


def _cgroup_bytes() -> int | None:
    try:
        limit = (_CGROUP / "memory.max").read_text().strip()
        used = int((_CGROUP / "memory.current").read_text())
    except (OSError, ValueError):
        return None
    return None if limit == "max" else max(0, int(limit) - used)


def _gib(count: int) -> str:
    return f"{count / GIB:.1f} GiB"
