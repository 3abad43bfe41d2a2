"""What turns found, and what they say together: pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from statistics import median


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One replay under one policy; None is what was not seen.

    Attributes:
        hit_ratio: prompt tokens found in a prefix cache over those looked up, by vLLM's counters.
        imbalance: the most that a replica computed over the mean of all.
        computed_tokens: prompt tokens that all replicas computed.
        doubts: why the load generator's times are not sound; hit rates are all the same.
    """

    policy: str
    round: int
    hit_ratio: float | None
    imbalance: float | None
    computed_tokens: int
    ttft_p50_s: float | None
    ttft_p99_s: float | None
    requests: int
    failed: int
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """A value over rounds."""

    median: float
    least: float
    greatest: float


@dataclass(slots=True, kw_only=True)
class Results:
    """Every turn, in the order in which they were made."""

    turns: list[Turn] = field(default_factory=list)

    def policies(self) -> list[str]:
        """Return the policies in the order of their first turns."""
        return list(dict.fromkeys(turn.policy for turn in self.turns))

    def of(self, policy: str) -> list[Turn]:
        """Return the turns of a policy."""
        return [turn for turn in self.turns if turn.policy == policy]

    def spread(self, policy: str, what: str) -> Spread | None:
        """Return a figure of a policy over the rounds; None where it was never seen."""
        return _spread(
            [value for turn in self.of(policy) if (value := _get(turn, what)) is not None]
        )

    def ratio(self, policy: str, base: str, what: str) -> Spread | None:
        """Return a figure over the other policy's of the same round."""
        bases = {turn.round: _get(turn, what) for turn in self.of(base)}
        found = []
        for turn in self.of(policy):
            value, other = _get(turn, what), bases.get(turn.round)
            if value is not None and other:
                found.append(value / other)
        return _spread(found)

    def to_json(self) -> dict[str, object]:
        """Return plain values for `json.dumps`."""
        figures = ("hit_ratio", "imbalance", "computed_tokens", "ttft_p50_s", "ttft_p99_s")
        summary = {
            policy: {
                what: asdict(spread) if (spread := self.spread(policy, what)) else None
                for what in figures
            }
            for policy in self.policies()
        }
        return {"policies": summary, "turns": [asdict(turn) for turn in self.turns]}


def _get(turn: Turn, what: str) -> float | None:
    value: float | None = getattr(turn, what)
    return value


def _spread(values: Sequence[float]) -> Spread | None:
    if not values:
        return None
    return Spread(median=median(values), least=min(values), greatest=max(values))
