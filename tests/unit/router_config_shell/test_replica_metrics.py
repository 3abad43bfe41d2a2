"""Metrics of a replica's front ends, as one exposition."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress

import pytest
from prometheus_client.parser import text_string_to_metric_families

from libs.contracts.lease import FrontEnd, UnixEndpoint
from libs.errors import PeerUnreachableError
from libs.testing.real_haproxy import short_folder
from services.router_config.adapters.prometheus.replica_metrics import fetch, merge

RUST = """\
# HELP vllm:wait Wait.
# TYPE vllm:wait histogram
vllm:wait_bucket{le="1.0"} 1
vllm:wait_bucket{le="+Inf"} 2
vllm:wait_sum 3
vllm:wait_count 2
# TYPE up gauge
up{} 1
# EOF
"""
PYTHON = """\
# HELP vllm:wait The wait.
# TYPE vllm:wait histogram
vllm:wait_bucket{le="+Inf",text="a } b"} 5
vllm:wait_sum 6
vllm:wait_count 5
# TYPE only_here counter
only_here_total 7
"""


def test_every_metric_is_told_once_with_the_samples_of_both() -> None:
    """Prometheus refuses one that is described twice."""
    merged = merge({FrontEnd.RUST: RUST, FrontEnd.PYTHON: PYTHON})

    samples = {
        (sample.name, sample.labels["front_end"], sample.labels.get("le", "")): sample.value
        for family in text_string_to_metric_families(merged)
        for sample in family.samples
    }
    assert samples == {
        ("vllm:wait_bucket", "rust", "1.0"): 1,
        ("vllm:wait_bucket", "rust", "+Inf"): 2,
        ("vllm:wait_sum", "rust", ""): 3,
        ("vllm:wait_count", "rust", ""): 2,
        ("up", "rust", ""): 1,
        ("vllm:wait_bucket", "python", "+Inf"): 5,
        ("vllm:wait_sum", "python", ""): 6,
        ("vllm:wait_count", "python", ""): 5,
        ("only_here_total", "python", ""): 7,
    }
    assert merged.count("# TYPE vllm:wait ") == 1


@pytest.mark.parametrize("beginning", [b"", b"HTTP/1.1 200 OK\r\n\r\nmetrics 1\n"])
def test_a_front_end_that_never_ends_is_cut_at_the_deadline(
    beginning: bytes,
) -> None:
    """Neither headers nor metrics that come byte by byte keep a place for longer."""
    with short_folder() as folder, socket.socket(socket.AF_UNIX) as listening:
        path = folder / "r.sock"
        listening.bind(str(path))
        listening.listen()
        dripping = threading.Thread(target=_drip, args=(listening, beginning), daemon=True)
        dripping.start()
        began = time.monotonic()

        with pytest.raises(PeerUnreachableError):
            fetch(UnixEndpoint(path=str(path)), deadline=began + 0.3)

        assert time.monotonic() - began < _DRIPS * _DRIP_S / 2
        dripping.join()


_DRIPS = 1_000
_DRIP_S = 0.03


def _drip(listening: socket.socket, beginning: bytes) -> None:
    """Answer one request with a byte now and then."""
    connection, _ = listening.accept()
    with connection, suppress(OSError):
        connection.sendall(beginning)
        for _ in range(_DRIPS):
            connection.sendall(b"x")
            time.sleep(_DRIP_S)
