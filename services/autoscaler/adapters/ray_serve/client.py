"""Ray Serve through the Ray dashboard's REST API."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import httpx

from libs.errors import (
    PeerUnreachableError,
    PermissionDeniedError,
    TerminalError,
    TransientError,
)
from libs.telemetry.context import inject
from services.autoscaler.adapters.ray_serve.codec import (
    parse_details,
    render_config,
    render_scale,
    scale_path,
)
from services.autoscaler.domain.applications import (
    DeployApplications,
    ObservedApplication,
    ScaleApplication,
)

APPLICATIONS_PATH: Final = "/api/serve/applications/"
ANSWER_CHARS_MAX: Final = 500
"""How much of an error's text goes into messages and logs."""

_JSON: Final = {"Content-Type": "application/json"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeLimits:
    """Time limits towards the dashboard.

    Attributes:
        request_timeout_s: for reading and scaling.
        deploy_timeout_s: for a whole configuration; the first one starts Serve itself.
    """

    request_timeout_s: float = 10.0
    deploy_timeout_s: float = 60.0


class RayServeClient:
    """The port `Applications` on the Ray dashboard."""

    def __init__(self, http: httpx.AsyncClient, limits: ServeLimits) -> None:
        """Use an HTTP client whose base URL is the dashboard's."""
        self._http = http
        self._limits = limits

    async def observe(self) -> tuple[ObservedApplication, ...] | None:
        """Return the applications as they are; None when Serve seems not to run."""
        answer = await self._call("GET", APPLICATIONS_PATH, b"", self._limits.request_timeout_s)
        return parse_details(answer)

    async def deploy(self, action: DeployApplications) -> None:
        """Replace the whole configuration; starts Serve where it does not run."""
        body = render_config(action.applications)
        await self._call("PUT", APPLICATIONS_PATH, body, self._limits.deploy_timeout_s)

    async def scale(self, action: ScaleApplication) -> None:
        """Change one application's number of replicas."""
        body = render_scale(action.target)
        await self._call("POST", scale_path(action.name), body, self._limits.request_timeout_s)

    async def _call(self, method: str, path: str, body: bytes, timeout_s: float) -> bytes:
        try:
            answer = await self._http.request(
                method, path, content=body, headers=_JSON | inject(), timeout=timeout_s
            )
        except httpx.TransportError as exc:
            why = str(exc) or type(exc).__name__
            raise PeerUnreachableError(
                "Ray's dashboard, or Ray Serve behind it, does not answer.",
                peer="ray_serve",
                path=path,
                why=why,
            ) from exc
        _check(answer)
        return answer.content


def _check(answer: httpx.Response) -> None:
    if answer.is_success:
        return
    details = {"status": answer.status_code, "answer": answer.text[:ANSWER_CHARS_MAX]}
    match answer.status_code:
        case httpx.codes.UNAUTHORIZED | httpx.codes.FORBIDDEN:
            raise PermissionDeniedError("The Ray dashboard refuses the token.", **details)
        case httpx.codes.BAD_REQUEST:
            raise TerminalError("Ray Serve refuses the configuration.", **details)
        case httpx.codes.NOT_FOUND | httpx.codes.PRECONDITION_FAILED:
            raise TransientError("Ray Serve has no such application to scale.", **details)
        case _:
            raise PeerUnreachableError("The Ray dashboard cannot answer.", **details)


@asynccontextmanager
async def open_client(
    url: str, *, token: str | None, limits: ServeLimits
) -> AsyncIterator[RayServeClient]:
    """Open a client; `token` is Ray's authentication token, None where Ray runs without one.

    Source: Ray 2.60, ray/_private/authentication (header `Authorization: Bearer`).
    """
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    # The dashboard is a peer inside the machine or cluster: proxies of the environment are not
    # for it.
    async with httpx.AsyncClient(base_url=url, headers=headers, trust_env=False) as http:
        yield RayServeClient(http, limits)
