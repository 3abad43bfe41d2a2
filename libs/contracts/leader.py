"""Leadership: one process at a time acts for a service, by lease."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from libs.contracts.checks import line, require_time
from libs.contracts.ids import model_name

LEADER_TTL_S: Final = 5.0
LEADER_REFRESH_S: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderClaim:
    """Who leads a service; written with a TTL of `LEADER_TTL_S`, refreshed by its holder."""

    service: str
    holder: str
    claimed_at: float
    schema: Literal["leader.claim.v1"] = "leader.claim.v1"

    def __post_init__(self) -> None:
        """Refuse a service name that cannot be a key, and make a single line of the holder."""
        model_name(self.service)
        require_time("claimed_at", self.claimed_at)
        object.__setattr__(self, "holder", line(self.holder))
