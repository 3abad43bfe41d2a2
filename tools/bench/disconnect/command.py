"""`./sluice bench disconnect`: measure, and show what was seen."""

from __future__ import annotations

import json
import signal

from tools.bench.disconnect.measure import DisconnectPlan, measure_disconnects
from tools.bench.view import View


def disconnect_command(plan: DisconnectPlan, view: View) -> None:
    """Measure and show.

    Raises:
        PeerUnreachableError: a replica did not start, a stream ended by itself, or the engine never
            stopped.
        UsageError: a replica serves through another front end than it was asked for.
    """
    # A replica has a session of its own, so ending this program must end it as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with view.err.status("starting") as status:
        reports = measure_disconnects(plan, status.update)
    if view.as_json:
        print(json.dumps([report.to_json() for report in reports], indent=2))
        return
    for report in reports:
        view.out.print(
            f"{report.front_end}: client gone to last step: p50 {report.p50_ms:.0f} ms, "
            f"p99 {report.p99_ms:.0f} ms, max {max(report.stopped_ms):.0f} ms over "
            f"{len(report.stopped_ms)} clients, in steps of {plan.step_time_s * 1000:g} ms; "
            f"running afterwards: {report.running_after}"
        )
