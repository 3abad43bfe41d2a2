"""Which key clients of this machine send."""

from __future__ import annotations

import pytest

from libs.errors import UsageError
from tools.cli.api_key import chosen_key, header_lines
from tools.cli.settings import CliSettings


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Forget whoever runs the tests."""
    for name in ("SLUICE_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.mark.usefixtures("environment")
def test_without_any_no_key_is_sent() -> None:
    """An edge without tenants needs none."""
    assert chosen_key(None, CliSettings()) is None
    assert header_lines(["a: b"], None) == ("a: b",)


def test_an_option_counts_before_sluices_variable_and_that_before_openais(
    environment: pytest.MonkeyPatch,
) -> None:
    """The closest word wins; an empty one sends nothing."""
    environment.setenv("OPENAI_API_KEY", "sk-openai")
    openai = chosen_key(None, CliSettings())
    environment.setenv("SLUICE_API_KEY", "sk-sluice")

    found = [chosen_key(option, CliSettings()) for option in (None, "sk-option", "")]

    assert [openai, *found] == ["sk-openai", "sk-sluice", "sk-option", None]


def test_a_key_is_not_shown_with_the_settings(environment: pytest.MonkeyPatch) -> None:
    """Settings get printed."""
    environment.setenv("SLUICE_API_KEY", "sk-secret")

    assert "sk-secret" not in repr(CliSettings())


@pytest.mark.parametrize("key", ["two words", "schlüssel", "a\nb"])
def test_a_key_that_no_header_can_carry_is_refused(key: str) -> None:
    """With one line, without the key in it."""
    with pytest.raises(UsageError) as problem:
        chosen_key(key, CliSettings())

    assert key not in str(problem.value)


def test_a_header_that_names_a_key_comes_first() -> None:
    """Whoever writes one means it."""
    assert header_lines(["X-Api-Key: k"], "sk") == ("X-Api-Key: k",)
    assert header_lines([], "sk") == ("Authorization: Bearer sk",)
