"""How many threads vLLM's Rust front end runs (pure).

Left alone, each of its runtimes takes a thread for every CPU up to 32, and its ZMQ runtime 4. On a
machine that the front end shares with engine cores and other replicas, most of their time goes into
waking one another. Source: vLLM issue 50718, pull request 46051.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

THREADS_MAX: Final[Mapping[str, int]] = {
    "TOKIO_WORKER_THREADS": 8,
    "VLLM_RS_REQUEST_WORKER_THREADS": 8,
    "VLLM_RS_ZMQ_WORKER_THREADS": 4,
}
"""The most threads of a runtime, by the environment variable that sets them: HTTP, the requests'
templates and tokens, and the messages to and from the engine core."""


def thread_counts(cpus: int) -> dict[str, int]:
    """Return how many threads each runtime has: one for every two CPUs, within its limits."""
    return {name: min(most, max(1, cpus // 2)) for name, most in THREADS_MAX.items()}
