"""Reading Bazel's event stream: results of tests, and targets that could not be built."""

import json

from tools.build.bazel_events import NotBuilt, TargetRun, outcomes

TESTED = {
    "id": {"testResult": {"label": "//tests/unit/x:x", "run": 1, "shard": 1, "attempt": 1}},
    "testResult": {
        "status": "FAILED",
        "testAttemptDurationMillis": "1500",
        "testActionOutput": [
            {"name": "test.log", "uri": "file:///out/test.log"},
            {"name": "test.xml", "uri": "file:///out%20put/test.xml"},
        ],
    },
}
BUILT = {"id": {"targetCompleted": {"label": "//a:a"}}, "completed": {"success": True}}
BROKEN = {"id": {"targetCompleted": {"label": "//b:b"}}, "completed": {}}
ABORTED = {
    "id": {"targetCompleted": {"label": "//c:c"}},
    "aborted": {"reason": "ANALYSIS_FAILURE", "description": "no such target"},
}
OTHER = {"id": {"progress": {}}, "progress": {"stderr": "..."}}


def test_a_test_result_carries_its_report_and_duration() -> None:
    """The report's address becomes a path."""
    (found,) = outcomes([json.dumps(TESTED)])

    assert found == TargetRun(
        label="//tests/unit/x:x",
        status="FAILED",
        report="/out put/test.xml",
        cached=False,
        duration_s=1.5,
    )


def test_a_target_that_is_not_built_is_reported_with_its_reason() -> None:
    """Built targets and other events say nothing about tests."""
    lines = [json.dumps(event) for event in (OTHER, BUILT, BROKEN, ABORTED)]

    found = list(outcomes(lines))

    assert found == [
        NotBuilt(label="//b:b", reason="it could not be built"),
        NotBuilt(label="//c:c", reason="no such target"),
    ]
