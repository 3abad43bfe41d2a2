"""Keeps the prefix cache of one tenant from another, inside the engine core.

A prompt whose beginning is in the cache is answered sooner, so a shared cache tells one tenant what
another has sent. The edge writes a salt of the tenant at the end of `X-Request-Id`, which it sets
on every request and which both front ends make the engine's request id of; the body's `cache_salt`
is the client's. Both together are the salt of the first block's hash, and so of all behind it.

Unlike a watcher this must not fail quietly: with a release of vLLM that lacks the method, no engine
starts.

Source: vLLM 0.32, `preprocess_add_request` in vllm/v1/engine/core.py, and
`generate_block_hash_extra_keys` in vllm/v1/core/kv_cache_utils.py.
"""

from __future__ import annotations

import re
from functools import wraps
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vllm.v1.engine import EngineCoreRequest
    from vllm.v1.engine.core import EngineCore

_MARK = "_sluice_salts"
_TENANT = re.compile(r"-t([0-9a-f]{32})(?:-|$)")


def salt_by_tenant() -> None:
    """Have the engine core salt every request; safe to repeat."""
    from vllm.v1.engine.core import EngineCore

    add = EngineCore.preprocess_add_request
    if hasattr(add, _MARK):
        return

    @wraps(add)
    def add_salted(core: EngineCore, request: EngineCoreRequest) -> Any:  # noqa: ANN401 - as the method's own
        request.cache_salt = engine_salt(request.request_id, request.cache_salt)
        return add(core, request)

    setattr(add_salted, _MARK, True)
    EngineCore.preprocess_add_request = add_salted


def engine_salt(request_id: str, client_salt: str | None) -> str | None:
    """Return the salt of a request; None shares the cache with all that have none.

    The beginnings differ, so no client can choose what is another tenant's.
    """
    tenant = _TENANT.search(request_id)
    if tenant is not None:
        return f"tenant:{tenant[1]}:{client_salt or ''}"
    return f"client:{client_salt}" if client_salt else None
