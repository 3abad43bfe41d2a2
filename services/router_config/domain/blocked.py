"""Models whose requests need not wait, by pool: what the bus says of models that fail to start.

What is said of a pool counts only while the pool has no usable server, so old knowledge stops no
request that could be served. A bus that is away says nothing new, and the last known stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from libs.contracts.failing import FailingModel
from libs.contracts.ids import ModelName
from services.router_config.domain.model import Blocked, PoolName


def blocked_pools(
    failing: Iterable[FailingModel], pools: Mapping[ModelName, PoolName]
) -> dict[PoolName, Blocked]:
    """Return why requests for a pool are refused at once; nothing of models without a pool."""
    return {
        pools[each.model]: Blocked(error=each.error, next_try_at=int(each.next_try_at or 0))
        for each in failing
        if each.blocked and each.model in pools
    }
