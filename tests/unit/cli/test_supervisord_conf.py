"""supervisord's file holds none of the user's values, so no value can break it.

Invariant: any environment, command and path comes out of the launch file as it went in.
"""

import configparser
import json
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.local.launch import Launch
from deploy.local.supervisord_conf import Program, launch_of, render

ANY = st.text(st.characters(exclude_characters="\0"), max_size=20)


def program(*command: str, **environment: str) -> Program:
    """Return a program with one environment variable for each named argument."""
    return Program(
        name="x",
        command=command or ("run",),
        environment=environment,
        directory=Path("/d ;d"),
        log_file=Path("/log #1/x.log"),
    )


def rendered(*programs: Program) -> str:
    """Return supervisord's file."""
    return render(
        programs, socket=Path("/r/s"), pid_file=Path("/r/p"), launches=Path("/r/programs")
    )


@given(ANY, ANY)
def test_any_value_passes(value: str, word: str) -> None:
    """Quotes, ` ;`, ` #`, `%` and line ends mean something to supervisord, and nothing here."""
    given_program = program("run", word, A=value)

    launch = launch_of(given_program, pid_file=Path("/p"))
    read = Launch(**json.loads(json.dumps(asdict(launch))))

    assert (read.environment, read.command) == ({"A": value}, ["run", word])
    assert rendered(given_program) == rendered(program())


def test_bad_configuration_is_not_restarted() -> None:
    """Exit code 2 says that another start cannot help."""
    ini = configparser.RawConfigParser(inline_comment_prefixes=(";", "#"))
    ini.read_string(rendered(program()))
    section = ini["program:x"]

    assert section["autorestart"] == "unexpected"
    assert section["exitcodes"] == "2"
    assert section["command"].endswith(" /r/programs/x.json")


def test_a_path_that_supervisord_would_misread_is_refused() -> None:
    """The run folder is ours to name."""
    with pytest.raises(ValueError, match="cannot be told the path"):
        render([], socket=Path("/a ;b"), pid_file=Path("/p"), launches=Path("/l"))
