"""Whether the autoscaler has acted on what a person wrote; nothing changes before (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from libs.contracts.ids import ModelName
from libs.contracts.targets import DecidedTarget, ScaleReason
from tools.cli.model_changes import ModelChanges


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What the autoscaler's decisions must come to say.

    Attributes:
        by_hand: targets by model; None where the autoscaler is to decide again.
        declared: models of which there must be a decision.
        gone: models of which there must be none.
    """

    by_hand: Mapping[ModelName, int | None] = field(default_factory=dict)
    declared: frozenset[ModelName] = frozenset()
    gone: frozenset[ModelName] = frozenset()


def expected_of(changes: ModelChanges) -> Expected:
    """Return what must follow from changed declarations."""
    changed = (new for _, new in changes.changed)
    return Expected(
        declared=frozenset(spec.name for spec in (*changes.added, *changed)),
        gone=frozenset(spec.name for spec in changes.removed),
    )


def not_acted_on(expected: Expected, decided: Iterable[DecidedTarget]) -> tuple[ModelName, ...]:
    """Return the models on which the autoscaler has not acted yet, in order."""
    known = {each.model: each for each in decided}
    return tuple(sorted(_not_acted_on(expected, known)))


def _not_acted_on(
    expected: Expected, known: Mapping[ModelName, DecidedTarget]
) -> Iterator[ModelName]:
    yield from expected.declared - known.keys()
    yield from expected.gone & known.keys()
    for model, replicas in expected.by_hand.items():
        if not _follows(known.get(model), replicas):
            yield model


def _follows(decided: DecidedTarget | None, replicas: int | None) -> bool:
    if decided is None:
        return False
    by_hand = decided.reason is ScaleReason.MANUAL
    return not by_hand if replicas is None else by_hand and decided.replicas == replicas
