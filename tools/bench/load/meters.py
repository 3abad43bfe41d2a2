"""How busy the generator itself is: its CPU time, its wait for a CPU, the lateness of its loop."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_NS: Final = 1e9
_SCHEDSTAT: Final = Path("/proc/self/schedstat")
_SCHEDSTAT_FIELDS: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """What one process used between two moments.

    Attributes:
        waited_s: how long it was ready to run and had no CPU; None where the kernel does not say.
    """

    elapsed_s: float
    cpu_s: float
    waited_s: float | None

    @property
    def utilisation_ratio(self) -> float:
        """CPU time over elapsed time; one event loop cannot pass 1."""
        return self.cpu_s / self.elapsed_s if self.elapsed_s > 0 else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The clocks at one moment."""

    monotonic_s: float
    cpu_s: float
    waited_s: float | None

    def until(self, later: Reading) -> Effort:
        """Return what was used from this reading to a later one."""
        waited = None
        if self.waited_s is not None and later.waited_s is not None:
            waited = later.waited_s - self.waited_s
        return Effort(
            elapsed_s=later.monotonic_s - self.monotonic_s,
            cpu_s=later.cpu_s - self.cpu_s,
            waited_s=waited,
        )


def read() -> Reading:
    """Read this process's clocks."""
    return Reading(
        monotonic_s=time.monotonic(), cpu_s=time.process_time(), waited_s=_waited_for_cpu_s()
    )


def _waited_for_cpu_s() -> float | None:
    """Return the time on a run queue. Source: Linux, Documentation/scheduler/sched-stats.rst."""
    try:
        fields = _SCHEDSTAT.read_text().split()
    except OSError:
        return None
    return int(fields[1]) / _NS if len(fields) == _SCHEDSTAT_FIELDS else None
