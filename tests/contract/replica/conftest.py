"""One vLLM for all the suites here: its start costs twenty seconds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from libs.testing.json_program import JsonProgram, json_program
from libs.testing.tiny_model import write_tiny_model

PROGRAM = Path(__file__).with_name("vllm_program.py")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def vllm(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[JsonProgram]:
    """Run vLLM on the device that only takes time, in a process of its own."""
    folder = write_tiny_model(tmp_path_factory.mktemp("tiny"))
    async with json_program(PROGRAM, str(folder), log_file=folder / "program.log") as program:
        yield program
