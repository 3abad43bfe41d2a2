"""Answers where vLLM's application has no handler, given what the model can do."""

from __future__ import annotations

from starlette.responses import Response
from starlette.routing import Router
from starlette.types import Receive, Scope, Send

from services.replica.adapters.http.refusals import unsupported


def shape_missing_routes(router: Router) -> None:
    """Give paths that no route matches OpenAI's error shape.

    The router's default is replaced, since exception handlers come too late: vLLM's application
    has built its middleware by the time it is handed out.
    """
    router.default = _refuse


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    refusal = unsupported(scope["path"])
    reply = Response(refusal.body, refusal.status, media_type="application/json")
    await reply(scope, receive, send)
