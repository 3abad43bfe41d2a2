"""What a soak found: a series for everything that was sampled, and a verdict (pure)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from tools.bench.chaos.footprint import Footprint, Use
from tools.bench.chaos.outcomes import Ending, Ledger
from tools.bench.idle.parts import Part
from tools.bench.soak.trend import Allowed, Sample, Trend, trend_of
from tools.bench.soak.windows import Window

WARM_UP_RATIO: Final = 0.2
"""The first fifth does not count: caches fill and compilers run."""

_MIB: Final = 2**20
_MEMORY: Final = Allowed(ratio=0.05, amount=16 * _MIB)
_FILES: Final = Allowed(ratio=0.1, amount=8)
_THREADS: Final = Allowed(ratio=0.1, amount=4)
_PROCESSES: Final = Allowed(ratio=0.0, amount=0.5)
_LATENCY: Final = Allowed(ratio=0.25, amount=0.02)
_SOCKETS: Final = Allowed(ratio=0.1, amount=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Everything that one sample has, some seconds after the beginning."""

    at_s: float
    footprint: Footprint
    window: Window


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One thing over time.

    Attributes:
        unit: what its values count.
        trend: None where there were too few samples to say.
    """

    name: str
    unit: str
    allowed: Allowed
    trend: Trend | None
    last: float

    @property
    def grows(self) -> bool:
        """Tell whether it grew more than it may."""
        return self.trend is not None and self.trend.exceeds(self.allowed)


@dataclass(frozen=True, slots=True, kw_only=True)
class SoakResult:
    """A whole run.

    Attributes:
        turns: how often replicas, names, tenants and the certificate were changed.
        problems_on_the_way: what a change did not do as it should.
    """

    seconds: float
    series: tuple[Series, ...]
    ledger: Ledger
    turns: int = 0
    problems_on_the_way: tuple[str, ...] = ()
    interrupted: bool = False

    @property
    def problems(self) -> list[str]:
        """Return everything that is wrong, in a person's words."""
        failed = self.ledger.requests - sum(
            number for (_, end), number in self.ledger.counts.items() if end is Ending.WHOLE
        )
        lost = [f"{failed} of {self.ledger.requests} requests failed"] if failed else []
        examples = [f"  {each.kind}: {each.said}" for each in self.ledger.failures[:5]]
        unknown = all(each.trend is None for each in self.series)
        short = ["too few samples to tell what grows: run longer"] if unknown else []
        return [*lost, *examples, *self.problems_on_the_way, *map(_told, self.growing()), *short]

    def growing(self) -> list[Series]:
        """Return the series that grew more than they may."""
        return [each for each in self.series if each.grows]

    @property
    def exit_code(self) -> int:
        """Return 0 where everything held, else 1."""
        return 1 if self.problems else 0

    def to_json(self) -> dict[str, object]:
        """Return plain values."""
        return {
            "seconds": round(self.seconds, 1),
            "requests": self.ledger.requests,
            "turns": self.turns,
            "series": [_series_json(each) for each in self.series],
            "problems": self.problems,
            "interrupted": self.interrupted,
        }


def series_of(readings: list[Reading]) -> tuple[Series, ...]:
    """Return a series for every part's memory, files, threads and processes, and for latencies."""
    counted = readings[int(len(readings) * WARM_UP_RATIO) :]
    named = sorted({part for each in counted for part in each.footprint.parts})
    found: list[Series] = []
    for part in named:
        found += _part_series(part, counted)
    found += _latency_series(counted)
    sockets = [Sample(at_s=each.at_s, value=len(each.footprint.sockets)) for each in counted]
    return (*found, _series("sockets", "", _SOCKETS, sockets))


def _part_series(part: Part, readings: list[Reading]) -> Iterator[Series]:
    """A part's memory counts for one process: how many there are is a series of its own."""
    if part is Part.OTHER:
        return
    uses = [
        (each.at_s, each.footprint.parts[part]) for each in readings if part in each.footprint.parts
    ]
    kinds: Mapping[str, tuple[str, Allowed]] = {
        "memory": ("MiB", _MEMORY),
        "files": ("", _FILES),
        "threads": ("", _THREADS),
        "processes": ("", _PROCESSES),
    }
    for kind, (unit, allowed) in kinds.items():
        samples = [Sample(at_s=at_s, value=_value(kind, use)) for at_s, use in uses]
        yield _series(f"{part}: {kind}", unit, allowed, samples)


def _value(kind: str, use: Use) -> float:
    match kind:
        case "memory":
            return use.memory_bytes / use.processes
        case "files":
            return use.files / use.processes
        case "threads":
            return use.threads / use.processes
        case _:
            return float(use.processes)


def _latency_series(readings: list[Reading]) -> Iterator[Series]:
    picks: Mapping[str, Callable[[Window], float | None]] = {
        "time to first token p50": lambda window: window.ttft_p50_s,
        "time to first token p99": lambda window: window.ttft_p99_s,
        "short answer p99": lambda window: window.answer_p99_s,
    }
    for name, pick in picks.items():
        known = ((each.at_s, pick(each.window)) for each in readings)
        samples = [Sample(at_s=at_s, value=value) for at_s, value in known if value is not None]
        yield _series(name, "ms", _LATENCY, samples)


def _series(name: str, unit: str, allowed: Allowed, samples: list[Sample]) -> Series:
    last = samples[-1].value if samples else 0.0
    return Series(name=name, unit=unit, allowed=allowed, trend=trend_of(samples), last=last)


def shown(value: float, unit: str) -> str:
    """Return a value for a person, in its unit."""
    match unit:
        case "MiB":
            return f"{value / _MIB:,.1f} MiB"
        case "ms":
            return f"{value * 1000:,.1f} ms"
        case _:
            return f"{value:,.1f}"


def _told(series: Series) -> str:
    trend = series.trend
    if trend is None:
        return series.name
    growth, level = shown(trend.growth, series.unit), shown(trend.level, series.unit)
    allowed = shown(series.allowed.over(trend.level), series.unit)
    return f"{series.name} grew by {growth} from a level of {level}; {allowed} are allowed"


def _series_json(series: Series) -> dict[str, object]:
    trend = series.trend
    return {
        "name": series.name,
        "level": None if trend is None else trend.level,
        "growth": None if trend is None else trend.growth,
        "allowed": None if trend is None else series.allowed.over(trend.level),
        "last": series.last,
        "grows": series.grows,
    }
