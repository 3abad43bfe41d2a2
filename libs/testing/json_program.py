"""A program of the tests' own, asked over pipes: a line of JSON in, a line of JSON out."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

ANSWER_TIMEOUT_S: Final = 180.0
END_TIMEOUT_S: Final = 60.0
_ROOT: Final = Path(__file__).absolute().parents[2]
_LOG_CHARACTERS: Final = 5_000


class JsonProgram:
    """A program that runs; it says hello with its first line."""

    def __init__(self, child: asyncio.subprocess.Process, log_file: Path) -> None:
        """Take a child that has not said anything yet."""
        self._child = child
        self._log_file = log_file
        self.hello: dict[str, object] = {}

    async def order(self, **order: object) -> dict[str, object]:
        """Have it do one thing and return how it went."""
        assert self._child.stdin is not None
        self._child.stdin.write(f"{json.dumps(order)}\n".encode())
        return await self.heard()

    async def heard(self) -> dict[str, object]:
        """Read its next line; a program that ended fails the test with the end of its log."""
        assert self._child.stdout is not None
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            line = await self._child.stdout.readline()
        assert line, self._log_file.read_text(errors="replace")[-_LOG_CHARACTERS:]
        found: dict[str, object] = json.loads(line)
        return found


@asynccontextmanager
async def json_program(
    program: Path, *arguments: str, log_file: Path
) -> AsyncIterator[JsonProgram]:
    """Run a Python file that sees every package that this process sees, and end it."""
    paths = [str(_ROOT), *(path for path in sys.path if path)]
    with log_file.open("wb") as log:
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            str(program),
            *arguments,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
        )
    try:
        made = JsonProgram(child, log_file)
        made.hello = await made.heard()
        yield made
    finally:
        assert child.stdin is not None
        child.stdin.close()
        async with asyncio.timeout(END_TIMEOUT_S):
            await child.wait()
