"""A written wish has an effect once the autoscaler has decided accordingly.

Invariant: nothing is waited for that the decisions say already.
"""

from __future__ import annotations

import pytest

from libs.contracts.ids import ModelName
from libs.contracts.targets import DecidedTarget, ScaleReason
from tools.cli.effect import Expected, not_acted_on

M, N = ModelName("m"), ModelName("n")


def decided(model: ModelName, replicas: int, reason: ScaleReason) -> DecidedTarget:
    """Return a decision."""
    return DecidedTarget(model=model, replicas=replicas, reason=reason, decided_at=0.0)


BY_HAND = decided(M, 3, ScaleReason.MANUAL)
BY_ITSELF = decided(M, 3, ScaleReason.MINIMUM)


@pytest.mark.parametrize(
    ("expected", "known", "waiting"),
    [
        (Expected(by_hand={M: 3}), [BY_HAND], ()),
        (Expected(by_hand={M: 3}), [BY_ITSELF], (M,)),
        (Expected(by_hand={M: 2}), [BY_HAND], (M,)),
        (Expected(by_hand={M: 3}), [], (M,)),
        (Expected(by_hand={M: None}), [BY_ITSELF], ()),
        (Expected(by_hand={M: None}), [BY_HAND], (M,)),
        (Expected(declared=frozenset({M, N})), [BY_ITSELF], (N,)),
        (Expected(gone=frozenset({M, N})), [BY_ITSELF], (M,)),
    ],
)
def test_what_is_waited_for(
    expected: Expected, known: list[DecidedTarget], waiting: tuple[ModelName, ...]
) -> None:
    """Targets by hand, their end, new models and removed ones."""
    assert not_acted_on(expected, known) == waiting
