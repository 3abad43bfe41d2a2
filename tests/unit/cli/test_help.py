"""`--help` shows what an option does without being given, also where that is not one value."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from tools.cli.app import app


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("up", "8080"),
        ("bench compare", "3, quick 2"),
        ("bench load", "if the server is vLLM"),
        ("bench disconnect", "both"),
        ("chat", "SLUICE_API_KEY, else OPENAI_API_KEY"),
    ],
)
def test_the_default_of_an_option_is_shown(command: str, told: str) -> None:
    """Square brackets in a help text would be taken for markup, and left out."""
    shown = CliRunner().invoke(app, [*command.split(), "--help"], env={"COLUMNS": "200"})

    assert shown.exit_code == 0
    assert f"[default: ({told})]" in shown.output
