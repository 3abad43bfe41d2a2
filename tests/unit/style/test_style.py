"""The checks of the style guide, each as a test. They read the checkout, not the runfiles."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

# Bazel's runfiles are links into the checkout.
ROOT = Path(__file__).resolve().parents[3]
# import-linter cannot be started with -m.
LINT_IMPORTS = "from importlinter.cli import lint_imports_command as lint; lint()"
VENV_PYTHON = ROOT / ".venv" / "bin" / "python"


def check(*command: str) -> None:
    """Runs Python in the checkout with these arguments; fails with what it complains about."""
    environ = dict(os.environ)
    python = sys.executable
    if VENV_PYTHON.exists():
        python = str(VENV_PYTHON)
        environ |= {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [python, *command],
        cwd=ROOT,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
    )
    if done.returncode != 0:
        pytest.fail(f"exit code {done.returncode}\n{done.stdout}", pytrace=False)


def test_ruff_finds_no_broken_rule() -> None:
    """Every rule of ruff holds, but for those that pyproject.toml gives a reason to leave out."""
    check("-m", "ruff", "check", "--output-format=concise", ".")


def test_code_is_laid_out_by_the_formatter() -> None:
    """`ruff format` would change nothing."""
    check("-m", "ruff", "format", "--check", ".")


@pytest.mark.timeout(700)
def test_types_hold_under_mypy_strict() -> None:
    """The type checker, in its strict mode, has no complaint about any module or test."""
    check("-m", "mypy")


def test_imports_keep_to_the_layers() -> None:
    """The import contracts of pyproject.toml hold."""
    check("-c", LINT_IMPORTS, "--no-cache", "--no-logo")


def test_words_are_spelled_right() -> None:
    """The speller knows of no mistake."""
    check("-m", "codespell_lib")


def test_tidy_has_no_complaint() -> None:
    """The limits and bans of the style guide hold."""
    check("-m", "tools.build.tidy")
