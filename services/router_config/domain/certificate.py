"""What to do about the certificate file, given what it holds and what HAProxy serves.

A file that cannot be used changes nothing: the certificate that is served stays, and the reason is
told until the file is mended. What HAProxy refused once is not offered again before it changes.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Offered:
    """The file's content; `digest` is equal exactly when the content is."""

    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unusable:
    """Why a content, or the lack of it, cannot be served; `digest` is None without a content."""

    digest: str | None = None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """The content that one HAProxy was given."""

    pid: int
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """Nothing to do; `trouble` says why the file is not served, empty when it is."""

    trouble: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replace:
    """Give this content to HAProxy."""

    digest: str


def next_step(
    found: Offered | Unusable,
    *,
    pid: int,
    served: Served | None,
    refused: Unusable | None,
) -> Keep | Replace:
    """Decide; `served` is None while nobody knows what the running HAProxy serves."""
    if isinstance(found, Unusable):
        return Keep(trouble=found.reason)
    if served == Served(pid=pid, digest=found.digest):
        return Keep()
    if refused is not None and refused.digest == found.digest:
        return Keep(trouble=refused.reason)
    return Replace(digest=found.digest)
