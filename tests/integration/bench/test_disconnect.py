"""`bench disconnect`: a client that leaves frees its place, through HAProxy and a real replica."""

from __future__ import annotations

import pytest

from libs.contracts.lease import FrontEnd
from tools.bench.disconnect.measure import DisconnectPlan, measure_disconnects

STOPPED_MS = 1000.0
"""An engine that went on would make 1,500 tokens, 7,500 ms of them."""


@pytest.mark.parametrize("front_end", list(FrontEnd))
def test_an_engine_stops_for_a_client_that_left(front_end: FrontEnd) -> None:
    """Whichever front end served it; how soon is for the command to measure."""
    plan = DisconnectPlan(trials=5, front_ends=(front_end,))

    (report,) = measure_disconnects(plan, lambda _: None)

    assert report.front_end is front_end
    assert report.p50_ms <= STOPPED_MS
    assert report.running_after == 0
