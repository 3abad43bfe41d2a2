"""What was measured, and what follows from it: medians over rounds, ratios within rounds (pure)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from statistics import median
from typing import Final

from tools.bench.compare.stacks.port import StackName


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What one load on one stack gave; None where nothing of the kind was seen."""

    tokens_per_s: float | None
    requests_per_s: float | None
    ttft_p50_s: float | None
    ttft_p99_s: float | None
    itl_p50_s: float | None
    itl_p99_s: float | None
    e2e_p50_s: float | None
    e2e_p99_s: float | None


FIGURES = tuple(each.name for each in fields(Figures))

TAIL_REQUESTS_MIN: Final = 500
"""A p99 of fewer requests is set by fewer than five of them, and gives no ratio."""

GENERATOR: Final = "generator_cpu_ratio"
_TAILS: Final = tuple(name for name in FIGURES if name.endswith("_p99_s"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One load on one stack in one round.

    Attributes:
        cpu_ms_per_1k_tokens: by role, with `outside_engine`; None where no token came.
        others_ratio: share of the machine's CPUs that neither stack nor generator used, but
            somebody did; the machine's noise.
        generator_cpu_ratio: share of the machine's CPUs that the load generator used.
        requests: how many requests the latencies are about.
        refused: why the load generator does not vouch for the figures; empty when it does.
    """

    figures: Figures
    errors: int
    cpu_ms_per_1k_tokens: dict[str, float] | None
    others_ratio: float
    generator_cpu_ratio: float | None = None
    requests: int | None = None
    refused: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """A ratio over rounds: the median, and the least and the greatest."""

    median: float
    least: float
    greatest: float


@dataclass(slots=True, kw_only=True)
class Results:
    """Everything measured so far, by load and stack, one measurement a round.

    Attributes:
        failures: stacks that did not start, with the round and the reason.
    """

    taken: dict[tuple[str, StackName], dict[int, Measurement]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def add(self, point: str, stack: StackName, number: int, found: Measurement) -> None:
        """Keep the measurement of a round."""
        self.taken.setdefault((point, stack), {})[number] = found

    @property
    def rounds(self) -> int:
        """How many rounds the best measured load has."""
        return max((len(by_round) for by_round in self.taken.values()), default=0)

    def of(self, point: str, stack: StackName) -> list[Measurement]:
        """Return the measurements of a load on a stack, by round."""
        by_round = self.taken.get((point, stack), {})
        return [by_round[number] for number in sorted(by_round)]

    def points(self) -> list[str]:
        """List the loads that were measured, in order."""
        return list(dict.fromkeys(point for point, _ in self.taken))

    def stacks(self, point: str) -> list[StackName]:
        """List the stacks that a load was measured on, in order."""
        return [stack for name, stack in self.taken if name == point]

    def ratio(self, point: str, stack: StackName, base: StackName, what: str) -> Spread | None:
        """Return a value over the base's in the same round; None where no round has both.

        A p99 counts only where both have at least TAIL_REQUESTS_MIN requests.
        """
        mine, theirs = self.taken.get((point, stack), {}), self.taken.get((point, base), {})
        found = [
            over
            for number in sorted(set(mine) & set(theirs))
            if (over := _over(_sound(mine[number], what), _sound(theirs[number], what)))
        ]
        if not found:
            return None
        return Spread(median=median(found), least=min(found), greatest=max(found))


def value_of(found: Measurement, what: str) -> float | None:
    """Return a figure by its name, or CPU milliseconds per 1,000 tokens by role."""
    if what == GENERATOR:
        return found.generator_cpu_ratio
    if what in FIGURES:
        value: float | None = getattr(found.figures, what)
        return value
    return None if found.cpu_ms_per_1k_tokens is None else found.cpu_ms_per_1k_tokens[what]


def _sound(found: Measurement, what: str) -> float | None:
    """Return a value that may be compared; results that do not say how many requests may be."""
    is_short = found.requests is not None and found.requests < TAIL_REQUESTS_MIN
    return None if what in _TAILS and is_short else value_of(found, what)


def middle(measurements: Sequence[Measurement], what: str) -> float | None:
    """Return the median over rounds; None where no round has the value."""
    known = [value for each in measurements if (value := value_of(each, what)) is not None]
    return median(known) if known else None


def to_json(results: Results) -> dict[str, object]:
    """Return `compare.json`: medians over rounds; errors are all rounds' together."""
    cases = {
        point: {stack.value: _entry(results.of(point, stack)) for stack in results.stacks(point)}
        for point in results.points()
    }
    return {"rounds": results.rounds, "cases": cases}


def details_json(results: Results) -> list[dict[str, object]]:
    """Return every single measurement, for who wants to see the spread."""
    return [
        {"case": point, "stack": stack.value, "round": number, **asdict(found)}
        for (point, stack), by_round in results.taken.items()
        for number, found in sorted(by_round.items())
    ]


def _entry(measurements: Sequence[Measurement]) -> dict[str, object]:
    return {
        **{name: _rounded(middle(measurements, name)) for name in FIGURES},
        "errors": sum(each.errors for each in measurements),
        GENERATOR: _rounded(middle(measurements, GENERATOR)),
        "cpu_ms_per_1k_tokens": dict(_cpu(measurements)) or None,
    }


def _cpu(measurements: Sequence[Measurement]) -> Iterator[tuple[str, float | None]]:
    known = [each for each in measurements if each.cpu_ms_per_1k_tokens is not None]
    for role in (known[0].cpu_ms_per_1k_tokens or {}) if known else {}:
        yield role, _rounded(middle(known, role))


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _over(value: float | None, base: float | None) -> float | None:
    return value / base if value and base else None
