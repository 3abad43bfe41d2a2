"""What is applied: models, their names, their replicas (pure)."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Final

from libs.contracts.ids import Incarnation, ModelName, ReplicaId
from libs.contracts.lease import Endpoint, ReplicaLease, ReplicaState, Versions
from libs.contracts.model_spec import ModelSpec
from libs.errors import UsageError

MODELS_MAX: Final = 64
"""As many as HAProxy has pools of one kind."""

SERVERS_MAX: Final = 4000
NAMES_MAX: Final = 200_000

_FIRST_HOST: Final = ipaddress.IPv4Address("127.77.0.1")
"""Every server has an address of its own on loopback, and all of them one port."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much.

    Attributes:
        names: names that clients may send, the models' own among them: entries of the map.
    """

    servers: int = 1000
    models: int = 64
    names: int = 100_000

    def __post_init__(self) -> None:
        """Refuse what the edge does not have room for.

        Raises:
            UsageError: a number is out of its bounds.
        """
        _within("--models", self.models, 1, MODELS_MAX)
        _within("--servers", self.servers, 1, SERVERS_MAX)
        _within("--names", self.names, self.models, NAMES_MAX)

    def specs(self) -> tuple[ModelSpec, ...]:
        """Return the models; every one has its share of the aliases."""
        aliases = range(self.names - self.models)
        return tuple(
            ModelSpec(
                name=model_of(index),
                source="builtin:none",
                aliases=tuple(f"alias-{number}" for number in aliases[index :: self.models]),
            )
            for index in range(self.models)
        )

    def hosts(self) -> tuple[str, ...]:
        """Return every server's address, and one more for the server that joins later."""
        return tuple(str(_FIRST_HOST + index) for index in range(self.servers + 1))

    def lease(self, index: int, *, port: int, incarnation: int = 0) -> ReplicaLease:
        """Return the lease of one ready replica; replicas are spread evenly over the models."""
        return ReplicaLease(
            replica_id=ReplicaId(f"r{index}"),
            incarnation=Incarnation(f"{incarnation:08x}"),
            model=model_of(index % self.models),
            state=ReplicaState.READY,
            address=Endpoint(host=str(_FIRST_HOST + index), port=port),
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
