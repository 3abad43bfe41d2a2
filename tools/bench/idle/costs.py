"""CPU time and wake-ups of an idle stack by part, between two readings of its processes (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tools.bench.idle.parts import Part, part_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One process at one moment.

    Attributes:
        began: when it started, in the kernel's ticks; tells a reused pid from the first.
        cpu_s: CPU time of its own and of its children that have ended.
        wakes: how often its threads went to sleep so far, which is how often they woke.
    """

    pid: int
    began: int
    command: str
    cpu_s: float
    wakes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PartCost:
    """What the processes of one part used.

    Attributes:
        cpus: CPUs kept busy: seconds of CPU time a second.
        wakes_per_s: of all its threads.
    """

    part: Part
    processes: int
    cpus: float
    wakes_per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class IdleCost:
    """What an idle stack used, dearest part first."""

    replicas: int
    seconds: float
    parts: tuple[PartCost, ...]

    @property
    def cpus(self) -> float:
        """CPUs that the whole stack kept busy."""
        return sum(each.cpus for each in self.parts)

    @property
    def wakes_per_s(self) -> float:
        """Wake-ups a second of the whole stack."""
        return sum(each.wakes_per_s for each in self.parts)

    def to_json(self) -> dict[str, object]:
        """Return plain values; the keys of `parts` are the members' names in lower case."""
        return {
            "replicas": self.replicas,
            "seconds": round(self.seconds, 2),
            "cpus": round(self.cpus, 4),
            "wakes_per_s": round(self.wakes_per_s, 1),
            "parts": {
                each.part.name.lower(): {
                    "processes": each.processes,
                    "cpus": round(each.cpus, 4),
                    "wakes_per_s": round(each.wakes_per_s, 1),
                }
                for each in self.parts
            },
        }


def cost_of(
    before: Iterable[Reading], after: Iterable[Reading], *, seconds: float, replicas: int
) -> IdleCost:
    """Return what was used between two readings that lie `seconds` apart.

    A process that started in between counts whole. One that ended counts through its parent, which
    the kernel credits with all of its time; what it had used before the first reading is then
    counted too, so that a stack whose processes end does not look cheaper than it is.
    """
    earlier = {(each.pid, each.began): each for each in before}
    by_part: dict[Part, list[tuple[float, int]]] = {}
    for each in after:
        used = _used(earlier, each)
        by_part.setdefault(part_of(each.command), []).append(used)
    costs = [_part_cost(part, used, seconds) for part, used in by_part.items()]
    dearest_first = sorted(costs, key=lambda cost: (-cost.cpus, cost.part))
    return IdleCost(replicas=replicas, seconds=seconds, parts=tuple(dearest_first))


def _used(earlier: Mapping[tuple[int, int], Reading], now: Reading) -> tuple[float, int]:
    """Return CPU seconds and wake-ups; a thread that ended takes its count of wake-ups along."""
    then = earlier.get((now.pid, now.began))
    if then is None:
        return now.cpu_s, now.wakes
    return now.cpu_s - then.cpu_s, max(0, now.wakes - then.wakes)


def _part_cost(part: Part, used: Sequence[tuple[float, int]], seconds: float) -> PartCost:
    return PartCost(
        part=part,
        processes=len(used),
        cpus=sum(cpu_s for cpu_s, _ in used) / seconds,
        wakes_per_s=sum(wakes for _, wakes in used) / seconds,
    )
