"""What the comparison ran on, and what it holds alike for every stack."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Final

CONDITIONS: Final = (
    "Every stack: the same simulated device, tokenizer and limits; engines with 64 sequences;",
    "access logs off, log level INFO, niceness 0 (Ray's workers too); tokens counted by `usage`.",
    "HAProxy: one thread for sluice, vllm-rust and vllm, Ray's own settings for ray. Sluice traces",
    "requests as `up` starts it; the others write no traces. The load generator shares the CPUs.",
    "A ratio is the first stack's value over another's in the same turn: median (least-most).",
)


_PROC: Final = Path("/proc")
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_BUSY_FIELDS: Final = (0, 1, 2, 5, 6)
"""User, nice, system, irq and softirq of the first line of /proc/stat (proc(5))."""


def free_memory_bytes() -> int:
    """Return what may still be used without swapping."""
    return _memory_bytes("MemAvailable")


def cpus() -> int:
    """Return how many CPUs the comparison may use."""
    return len(os.sched_getaffinity(0))


def busy_s() -> float:
    """Return the CPU seconds that the whole machine has used since it started."""
    fields = (_PROC / "stat").read_text().splitlines()[0].split()[1:]
    return sum(int(fields[index]) for index in _BUSY_FIELDS) / _TICKS_PER_S


def describe() -> dict[str, object]:
    """Return what a reader needs to judge absolute figures."""
    return {
        "cpus": cpus(),
        "cpu_model": _cpu_model(),
        "memory_gib": round(_memory_bytes("MemTotal") / 2**30, 1),
        "kernel": platform.release(),
        "load_average": [round(each, 2) for each in os.getloadavg()],
    }


def _memory_bytes(name: str) -> int:
    lines = (_PROC / "meminfo").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def _cpu_model() -> str:
    for line in (_PROC / "cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
