"""What a run found (pure)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from tools.bench.chaos.outcomes import Ending, Kind, Ledger, Outcome
from tools.bench.chaos.verdict import Incident, lost_too_many, unexcused


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """One step.

    Attributes:
        right_after_s: from the end of the fault until everything was right; None where that was
            not seen.
        problem: what the fault did not do as it should; empty where all went well.
    """

    name: str
    bound_s: float
    right_after_s: float | None
    incident: Incident
    problem: str = ""

    @property
    def faults(self) -> list[str]:
        """Return what is wrong with it."""
        found = [f"{self.name}: {self.problem}"] if self.problem else []
        if self.right_after_s is None:
            found.append(f"{self.name}: never right again")
        elif self.right_after_s > self.bound_s:
            took = f"{self.right_after_s:.1f} s, {self.bound_s:g} s are allowed"
            found.append(f"{self.name}: right again after {took}")
        lost = lost_too_many(self.incident)
        return [*found, lost] if lost else found


@dataclass(frozen=True, slots=True, kw_only=True)
class ChaosResult:
    """A whole run.

    Attributes:
        asked: how often `status` was asked.
        lies: what it got wrong.
        leaks: what was there more at the end than at the beginning.
        skipped: faults that cannot be done here, and why.
    """

    seed: int
    seconds: float
    steps: tuple[StepResult, ...]
    ledger: Ledger
    asked: int
    lies: tuple[str, ...] = ()
    leaks: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    interrupted: bool = False
    wrongly_failed: Sequence[Outcome] = field(init=False)

    def __post_init__(self) -> None:
        incidents = [each.incident for each in self.steps]
        object.__setattr__(self, "wrongly_failed", unexcused(self.ledger.failures, incidents))

    @property
    def problems(self) -> list[str]:
        """Return everything that is wrong, in a person's words."""
        return [
            *(fault for step in self.steps for fault in step.faults),
            *(_told(each) for each in self.wrongly_failed),
            *self.lies,
            *(f"leaked: {each}" for each in self.leaks),
        ]

    @property
    def exit_code(self) -> int:
        """Return 0 where everything held, else 1."""
        return 1 if self.problems else 0

    def to_json(self) -> dict[str, object]:
        """Return plain values."""
        return {
            "seed": self.seed,
            "seconds": round(self.seconds, 1),
            "steps": [_step_json(each) for each in self.steps],
            "requests": {
                kind.value: {
                    ending.value: self.ledger.counts[kind, ending]
                    for ending in Ending
                    if self.ledger.counts[kind, ending]
                }
                for kind in Kind
            },
            "status_asked": self.asked,
            "skipped": list(self.skipped),
            "problems": self.problems,
            "interrupted": self.interrupted,
        }

    def endings(self) -> Counter[Ending]:
        """Count requests by how they ended."""
        found: Counter[Ending] = Counter()
        for (_, ending), number in self.ledger.counts.items():
            found[ending] += number
        return found


def _step_json(step: StepResult) -> dict[str, object]:
    after_s = step.right_after_s
    return {
        "faults": [each.name for each in step.incident.faults],
        "right_after_s": None if after_s is None else round(after_s, 2),
        "bound_s": step.bound_s,
        "replicas_lost": sorted(step.incident.lost),
        "problems": step.faults,
    }


def _told(outcome: Outcome) -> str:
    server = outcome.server or "no replica"
    return (
        f"{outcome.kind.value} request of {server} {outcome.ending.value}"
        f" (status {outcome.status}, {outcome.began_s:.1f} to {outcome.ended_s:.1f} s):"
        f" {outcome.said}"
    )
