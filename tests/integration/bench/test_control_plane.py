"""`bench control-plane` on a small edge: it fills a real HAProxy and checks what it did."""

from __future__ import annotations

from tools.bench.control_plane.result import Step
from tools.bench.control_plane.run import run
from tools.bench.control_plane.size import Size


async def test_every_step_is_measured_as_often_as_asked() -> None:
    """The run itself compares HAProxy with what it was given, and fails on a difference."""
    said: list[str] = []

    result = await run(Size(replicas=6, models=2, names=40), rounds=2, changes=2, tell=said.append)

    runs = {step: found.runs for step, found in result.medians().items()}
    assert runs == dict.fromkeys(Step, 4) | {Step.FROM_NOTHING: 2, Step.NOTHING_TO_DO: 2}
    assert all(found.wall_s > 0 for found in result.medians().values())
    assert said == ["round 1 of 2", "round 2 of 2"]
