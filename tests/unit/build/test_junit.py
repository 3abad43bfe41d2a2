"""Counting JUnit reports: every case counts once, and nothing is good news without a case."""

from hypothesis import given
from hypothesis import strategies as st

from tools.build.junit import Skip, Tally, tally, total

REPORT = """<?xml version="1.0"?>
<testsuites><testsuite>
  <testcase classname="a" name="passes"/>
  <testcase classname="a" name="fails"><failure message="no"/><error message="teardown"/></testcase>
  <testcase classname="a" name="breaks"><error message="boom"/></testcase>
  <testcase classname="a" name="skips"><skipped message="needs a GPU"/></testcase>
</testsuite></testsuites>
"""


def test_every_case_counts_once_whatever_it_holds() -> None:
    """A failure and an error in one case are one failed test."""
    counted = tally(REPORT)

    assert counted == Tally(
        passed=1,
        failed=("a::fails", "a::breaks"),
        skipped=(Skip(test="a::skips", reason="needs a GPU"),),
    )


def test_the_last_line_has_the_three_numbers() -> None:
    """The form that readers of a run look for."""
    line = tally(REPORT).line()

    assert line == "1 passed, 2 failed, 1 skipped"


def test_a_run_without_tests_is_not_a_good_run() -> None:
    """Nothing failed, but nothing was shown either."""
    nothing = total([])

    assert not nothing.ok


@given(st.lists(st.integers(min_value=0, max_value=9), max_size=9))
def test_the_sum_has_as_many_cases_as_its_parts(numbers: list[int]) -> None:
    """Adding up reports loses nothing."""
    parts = [Tally(passed=number, failed=("x",) * number) for number in numbers]

    whole = total(parts)

    assert (whole.passed, len(whole.failed)) == (sum(numbers), sum(numbers))
