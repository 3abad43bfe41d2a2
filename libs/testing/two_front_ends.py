"""vLLM's two front ends over one engine core, as a program of their own."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from libs.engine.engine_folder import FOLDER_VARIABLE, engine_folder

ROOT: Final = Path(__file__).absolute().parents[2]
PROGRAM: Final = "tools.front_ends.program"
END_TIMEOUT_S: Final = 30.0
_LOG_CHARACTERS: Final = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontEnds:
    """Where both listen, as URLs."""

    rust: str
    python: str


@contextmanager
def two_front_ends(
    arguments: Sequence[str], *, log_file: Path, environment: Mapping[str, str] | None = None
) -> Iterator[FrontEnds]:
    """Run both while the body runs; a program that does not start fails with its log's end."""
    with ExitStack() as stack:
        folder = engine_folder(Path(tempfile.gettempdir()), secrets.token_hex(4))
        own = {**(environment or {}), FOLDER_VARIABLE: str(stack.enter_context(folder))}
        with log_file.open("wb") as log:
            program = subprocess.Popen(
                [sys.executable, "-m", PROGRAM, json.dumps(list(arguments))],
                env={**os.environ, **own, "PYTHONPATH": _import_path()},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        stack.callback(_end, program)
        assert program.stdout is not None
        # vLLM prints while it is imported.
        line = next((line for line in program.stdout if line.startswith(b"{")), b"")
        assert line, log_file.read_text(errors="replace")[-_LOG_CHARACTERS:]
        yield FrontEnds(**json.loads(line))


def _import_path() -> str:
    folders = [str(ROOT), str(ROOT / "libs" / "engine" / "plugin"), *filter(None, sys.path)]
    return os.pathsep.join(dict.fromkeys(folders))


def _end(program: subprocess.Popen[bytes]) -> None:
    """Let the program end with its standard input, then kill what does not."""
    assert program.stdin is not None
    assert program.stdout is not None
    program.stdin.close()
    program.stdout.close()
    with suppress(subprocess.TimeoutExpired):
        program.wait(END_TIMEOUT_S)
    program.kill()
    program.wait()
