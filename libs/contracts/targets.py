"""How many replicas a model should have: a person's word and the autoscaler's decision."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

from libs.contracts.checks import require_count, require_time
from libs.contracts.ids import ModelName, model_name

REPLICAS_MAX: Final = 10_000
"""More replicas of one model than any cluster runs."""


class ScaleReason(StrEnum):
    """Why a target is what it is; one of these reaches logs, metrics and `FACTS`."""

    MINIMUM = "minimum"
    MANUAL = "manual"
    DEMAND = "demand"
    HOLD_UNKNOWN = "hold_unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class ManualTarget:
    """A person's word: hold the model at this many replicas until it is taken back."""

    model: ModelName
    replicas: int
    set_at: float
    schema: Literal["target.manual.v1"] = "target.manual.v1"

    def __post_init__(self) -> None:
        """Refuse an invalid model name or number of replicas."""
        model_name(self.model)
        require_count("replicas", self.replicas, high=REPLICAS_MAX)
        require_time("set_at", self.set_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class DecidedTarget:
    """The autoscaler's decision as last written."""

    model: ModelName
    replicas: int
    reason: ScaleReason
    decided_at: float
    schema: Literal["target.decided.v1"] = "target.decided.v1"

    def __post_init__(self) -> None:
        """Refuse an invalid model name or number of replicas."""
        model_name(self.model)
        require_count("replicas", self.replicas, high=REPLICAS_MAX)
        require_time("decided_at", self.decided_at)
