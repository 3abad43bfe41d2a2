"""What the autoscaler needs from Ray Serve."""

from __future__ import annotations

from typing import Protocol

from services.autoscaler.domain.applications import (
    DeployApplications,
    ObservedApplication,
    ScaleApplication,
)


class Applications(Protocol):
    """Ray Serve's applications.

    Every method raises PeerUnreachableError when Serve does not answer, TransientError when it
    cannot do it now, and TerminalError when it refuses.
    """

    async def observe(self) -> tuple[ObservedApplication, ...] | None:
        """Return the applications as they are; None when Serve seems not to run."""
        ...

    async def deploy(self, action: DeployApplications) -> None:
        """Replace the whole configuration; starts Serve where it does not run."""
        ...

    async def scale(self, action: ScaleApplication) -> None:
        """Change one application's number of replicas."""
        ...
