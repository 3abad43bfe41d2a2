"""Which models are declared, and what a bucket without any means.

A bus that was emptied looks like a person who took every model back. So an empty bucket counts as
*unknown*, and the models last known stay, unless they were seen to go on the same connection.
A bus that is away says nothing either.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from libs.contracts.model_spec import ModelSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """The models as last known.

    Attributes:
        models: None while none was ever heard of.
        seen_since: since when the connection had been live on which they were last seen, Unix
            time in seconds; None before that.
        lost: the bus has no models although nobody was seen to remove them.
    """

    models: tuple[ModelSpec, ...] | None = None
    seen_since: float | None = None
    lost: bool = False


def hear(before: Declared, found: tuple[ModelSpec, ...], *, live_since: float | None) -> Declared:
    """Take in the bucket as it is; `live_since` is None while the bus is away."""
    if found:
        return Declared(models=found, seen_since=live_since or before.seen_since)
    if live_since is None:
        return before
    if live_since == before.seen_since:
        return Declared(models=(), seen_since=live_since)
    return replace(before, lost=before.models != ())
