"""Leadership: one process at a time acts for a service, by lease."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

LEADER_TTL_S: Final = 5.0
LEADER_REFRESH_S: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderClaim:
    """Who leads a service; written with a TTL of `LEADER_TTL_S`, refreshed by its holder."""

    service: str
    holder: str
    claimed_at: float
    schema: Literal["leader.claim.v1"] = "leader.claim.v1"
