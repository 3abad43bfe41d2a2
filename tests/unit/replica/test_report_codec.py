"""The engine core's datagrams, read: a good one whole, any other one rejected."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.replica.adapters.vllm.report_codec import EngineLoad, EngineRequests, decode
from services.replica.domain.load_gauge import EngineTotals

CLOCKS = {"wall_s": 1_000.5, "monotonic_s": 10.25}
LOAD = {
    "schema": "engine.load.v1",
    **CLOCKS,
    "steps": 9,
    "unfinished": 4,
    "unread": 0,
    "running": 3,
    "waiting": 1,
    "kv_cache_usage_ratio": 0.5,
    "prompt_tokens": 70,
    "generated_tokens": 50,
    "prefix_queries": 70,
    "prefix_hits": 16,
    "first_token_latencies_s": [0.1, 0.2],
    "dropped_count": 1,
    "failed_count": 2,
    "lost_load_count": 4,
}
REQUEST = {
    "id": "cmpl-1",
    "client": 0,
    "status": "FINISHED_STOPPED",
    "arrival_s": 1_000.0,
    "queued_s": 9.75,
    "scheduled_s": None,
    "first_token_s": None,
    "ended_s": 10,
    "prompt_tokens": 7,
    "output_tokens": 0,
    "cached_tokens": 0,
    "preemptions": 0,
    "priority": -1,
    "adapter": "",
}
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


def datagram(body: object) -> bytes:
    """Render one as the plugin does."""
    return json.dumps(body).encode()


def test_the_load_is_read() -> None:
    """What was lost anywhere is one number."""
    found = decode(datagram(LOAD))

    assert isinstance(found, EngineLoad)
    assert found.totals() == EngineTotals(
        running=3,
        waiting=1,
        kv_cache_usage_ratio=0.5,
        generated_tokens=50,
        prefix_queried_tokens=70,
        prefix_hit_tokens=16,
        ttfts_s=(0.1, 0.2),
        lost_reports_count=7,
    )


def test_requests_are_read_with_the_clocks() -> None:
    """A request without sampling parameters is an embedding's."""
    found = decode(datagram({"schema": "engine.requests.v1", **CLOCKS, "requests": [REQUEST]}))

    assert isinstance(found, EngineRequests)
    assert found.clock_offset_s == 990.25
    assert [(each.id, each.scheduled_s, each.max_tokens) for each in found.requests] == [
        ("cmpl-1", None, None)
    ]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"[]",
        datagram({"schema": "engine.load.v2"}),
        datagram({**LOAD, "running": -1}),
        datagram({**LOAD, "kv_cache_usage_ratio": 1.5}),
        datagram({**LOAD, "generated_tokens": None}),
    ],
)
def test_any_other_datagram_is_rejected(body: bytes) -> None:
    """Missing is not zero, and a broken value is not a value."""
    with pytest.raises(ValueError, match=r"."):
        decode(body)


@given(
    st.binary(max_size=50)
    | st.builds(
        lambda whole, key, value: datagram({**whole, key: value}),
        st.sampled_from([LOAD, {"schema": "engine.requests.v1", **CLOCKS, "requests": [REQUEST]}]),
        st.sampled_from([*LOAD, "requests"]),
        json_values,
    )
)
def test_no_datagram_raises_anything_else(body: bytes) -> None:
    """The reader catches ValueError and goes on."""
    with suppress(ValueError):
        decode(body)
