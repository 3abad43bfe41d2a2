"""Following a run under Bazel: no line is read by halves, and no failure goes uncounted."""

from pathlib import Path

from tools.build.bazel_events import TargetRun
from tools.build.bazel_suite import EventTail, count

REPORT = (
    '<testsuites><testsuite><testcase classname="a" name="b">{}</testcase></testsuite></testsuites>'
)


def run_of(report: Path | None, *, status: str) -> TargetRun:
    """A target's run with this report and this end."""
    return TargetRun(
        label="//tests/unit/x:x",
        status=status,
        report=str(report) if report else None,
        cached=False,
        duration_s=1.0,
    )


def test_a_line_is_read_once_and_only_when_it_is_whole(tmp_path: Path) -> None:
    """Bazel writes while we read."""
    path = tmp_path / "events.json"
    tail = EventTail(path)

    seen = [list(tail.lines())]
    for text in ("one\ntw", "o\n", ""):
        with path.open("a") as file:
            file.write(text)
        seen.append(list(tail.lines()))

    assert seen == [[], ["one\n"], ["two\n"], []]


def test_a_passed_target_counts_its_cases(tmp_path: Path) -> None:
    """The usual way."""
    report = tmp_path / "test.xml"
    report.write_text(REPORT.format(""))

    counted = count(run_of(report, status="PASSED"))

    assert counted.line() == "1 passed, 0 failed, 0 skipped"


def test_a_failed_target_whose_cases_passed_counts_as_a_failure(tmp_path: Path) -> None:
    """Pytest may fail after its last test: an import, a warning, a limit."""
    report = tmp_path / "test.xml"
    report.write_text(REPORT.format(""))

    counted = count(run_of(report, status="FAILED"))

    assert counted.failed == ("//tests/unit/x:x (failed)",)


def test_a_target_that_ran_out_of_time_counts_as_a_failure(tmp_path: Path) -> None:
    """Its report is missing, or cut off."""
    cut_off = tmp_path / "test.xml"
    cut_off.write_text("<testsuites><testsui")

    counted = [count(run_of(report, status="TIMEOUT")) for report in (None, cut_off)]

    assert [each.failed for each in counted] == [("//tests/unit/x:x (timeout)",)] * 2
