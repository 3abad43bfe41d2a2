"""The rendered file says to supervisord what was meant, whatever characters stand in it."""

import configparser
from pathlib import Path

import pytest

from deploy.local.supervisord_conf import Program, render


def parsed(program: Program) -> configparser.SectionProxy:
    """Read the rendered file back as an ini file with interpolation, as supervisord does."""
    text = render([program], socket=Path("/s"), pid_file=Path("/p"), log_file=Path("/l"))
    ini = configparser.ConfigParser(inline_comment_prefixes=(";", "#"))
    ini.read_string(text)
    return ini[f"program:{program.name}"]


def program(**changes: str) -> Program:
    """Return a program with one environment variable for each argument."""
    return Program(
        name="x",
        command=["run", "a b"],
        environment=changes,
        directory=Path("/d"),
        log_file=Path("/x.log"),
    )


def test_words_with_spaces_stay_one_word() -> None:
    """Supervisord splits the command as a shell would."""
    assert parsed(program())["command"] == '"run" "a b"'


def test_percent_signs_survive_interpolation() -> None:
    """Supervisord expands %(name)s in every value."""
    assert parsed(program(RATIO="50%"))["environment"] == 'RATIO="50%"'


def test_bad_configuration_is_not_restarted() -> None:
    """Exit code 2 says that another start cannot help."""
    section = parsed(program())

    assert section["autorestart"] == "unexpected"
    assert section["exitcodes"] == "2"


def test_a_value_of_two_lines_is_refused() -> None:
    """It would end the setting and start another one."""
    with pytest.raises(ValueError, match="must be one line"):
        parsed(program(BAD="a\nb"))
