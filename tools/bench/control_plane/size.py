"""What is applied: models, their names, their replicas (pure)."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Final

from libs.contracts.ids import Incarnation, ModelName, ReplicaId
from libs.contracts.lease import (
    Endpoint,
    FrontEnd,
    ReplicaLease,
    ReplicaState,
    Versions,
)
from libs.contracts.model_spec import ModelSpec
from libs.errors import UsageError

MODELS_MAX: Final = 64
"""As many as HAProxy has pools of one kind."""

REPLICAS_MAX: Final = 4000
NAMES_MAX: Final = 200_000

_FRONT_ENDS: Final = 2

_FIRST_HOST: Final = ipaddress.IPv4Address("127.77.0.1")
"""Every front end has an address of its own on loopback, and all of them one port."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much.

    Attributes:
        replicas: each has both front ends, so HAProxy has two servers for it.
        names: names that clients may send, the models' own among them: entries of the map.
    """

    replicas: int = 1000
    models: int = 64
    names: int = 100_000

    def __post_init__(self) -> None:
        """Refuse what the edge does not have room for.

        Raises:
            UsageError: a number is out of its bounds.
        """
        _within("--models", self.models, 1, MODELS_MAX)
        _within("--replicas", self.replicas, 1, REPLICAS_MAX)
        _within("--names", self.names, self.models, NAMES_MAX)

    def specs(self) -> tuple[ModelSpec, ...]:
        """Return the models; every one has its share of the aliases."""
        return tuple(
            ModelSpec(
                name=model_of(index),
                source="builtin:none",
                aliases=self._names(index)[1:],
            )
            for index in range(self.models)
        )

    def _names(self, index: int) -> tuple[str, ...]:
        aliases = range(self.names - self.models)[index :: self.models]
        return (model_of(index), *(f"alias-{number}" for number in aliases))

    @property
    def servers(self) -> int:
        """Servers in main pools and their twins."""
        return _FRONT_ENDS * self.replicas

    def hosts(self) -> tuple[str, ...]:
        """Return every front end's address, and those of the replica that joins later."""
        count = _FRONT_ENDS * (self.replicas + 1)
        return tuple(str(_FIRST_HOST + index) for index in range(count))

    def lease(self, index: int, *, port: int, incarnation: int = 0) -> ReplicaLease:
        """Return the lease of one ready replica; replicas are spread evenly over the models.

        Its Rust front end knows every name of its model.
        """
        rust, python = (_FIRST_HOST + _FRONT_ENDS * index + number for number in range(_FRONT_ENDS))
        return ReplicaLease(
            replica_id=ReplicaId(f"r{index}"),
            incarnation=Incarnation(f"{incarnation:08x}"),
            model=model_of(index % self.models),
            state=ReplicaState.READY,
            address=Endpoint(host=str(rust), port=port),
            python_address=Endpoint(host=str(python), port=port),
            front_end=FrontEnd.RUST,
            rust_names=self._names(index % self.models),
            max_num_seqs=64,
            executor="none",
            device="simulated",
            pid=0,
            versions=Versions(sluice="bench", vllm="none", ray="none"),
            started_at=float(incarnation + 1),
        )


def model_of(index: int) -> ModelName:
    """Return a model's name."""
    return ModelName(f"model-{index}")


def _within(option: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise UsageError(f"{option} must be between {low} and {high}, not {value}")
