"""How many threads vLLM's Rust front end runs."""

from __future__ import annotations

import pytest

from services.replica.adapters.vllm.rust_threads import THREADS_MAX, thread_counts


@pytest.mark.parametrize(
    ("cpus", "http", "zmq"), [(1, 1, 1), (2, 1, 1), (4, 2, 2), (8, 4, 4), (16, 8, 4), (192, 8, 4)]
)
def test_a_thread_for_two_cpus_within_the_limits(cpus: int, http: int, zmq: int) -> None:
    """Never none, and never so many that they mostly wake one another."""
    counts = thread_counts(cpus)

    assert counts["TOKIO_WORKER_THREADS"] == http
    assert counts["VLLM_RS_REQUEST_WORKER_THREADS"] == http
    assert counts["VLLM_RS_ZMQ_WORKER_THREADS"] == zmq
    assert counts.keys() == THREADS_MAX.keys()
