"""Choosing suites: what the options ask for, as far as it exists."""

from pathlib import Path

import pytest

from tools.build.suites import Suite, select


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A tree with tests of three kinds."""
    for suite in (Suite.UNIT, Suite.INTEGRATION, Suite.E2E):
        folder = tmp_path / "tests" / suite / "topic"
        folder.mkdir(parents=True)
        (folder / "test_it.py").touch()
    return tmp_path


def test_suites_without_tests_are_left_out(root: Path) -> None:
    """Bazel takes an empty pattern for an error."""
    chosen = select(root, only=None, whole_stack=True, expression=None)

    assert chosen.suites == (Suite.UNIT, Suite.INTEGRATION, Suite.E2E)


def test_without_the_whole_stack_no_model_is_needed(root: Path) -> None:
    """The quick run makes no model."""
    chosen = select(root, only=None, whole_stack=False, expression=None)

    assert (chosen.suites, chosen.needs_model) == ((Suite.UNIT, Suite.INTEGRATION), False)


def test_one_suite_may_be_chosen_with_an_expression(root: Path) -> None:
    """A choice of one suite outweighs the others."""
    chosen = select(root, only=Suite.E2E, whole_stack=True, expression="paris")

    assert (chosen.suites, chosen.expression, chosen.needs_model) == ((Suite.E2E,), "paris", True)
