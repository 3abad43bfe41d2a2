"""Runs pytest inside a Bazel test: report, filter and scratch folder come from Bazel.

First it shortens the import path. Bazel's runfiles are links below a long path, and importing vLLM
or Ray through them takes several times as long, in this process and in each that the tests start.
"""

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

EVERYTHING = "site_packages"


def shorten(path: Iterable[str]) -> list[str]:
    """Returns an import path with external folders by their real names.

    Where the target has all the packages in one folder, that one stands for all the others.
    """
    entries = [Path(entry) for entry in path if entry]
    whole = [
        entry.resolve() for entry in entries if entry.name == EVERYTHING and is_external(entry)
    ]
    parts = [entry.resolve() for entry in entries if is_external(entry)]
    own = [entry for entry in entries if not is_external(entry)]
    return [str(entry) for entry in dict.fromkeys([*own, *(whole or parts)])]


def is_external(entry: Path) -> bool:
    """Whether a folder of the runfiles belongs to another repository than ours."""
    runfiles = next((up for up in entry.parents if up.name.endswith(".runfiles")), None)
    if runfiles is None:
        return False
    return entry.relative_to(runfiles).parts[0] != os.environ.get("TEST_WORKSPACE", "sluice")


def arguments(environ: Mapping[str, str], given: Sequence[str]) -> list[str]:
    """Returns pytest's arguments for what Bazel says in the environment."""
    args = ["-c", "pytest.ini", "--rootdir=.", "-p", "no:cacheprovider", *given]
    if report := environ.get("XML_OUTPUT_FILE"):
        args.append(f"--junitxml={report}")
    if scratch := environ.get("TEST_TMPDIR"):
        args.append(f"--basetemp={scratch}/pytest")
    if expression := environ.get("TESTBRIDGE_TEST_ONLY"):
        args += ["-k", expression]
    return args


def main() -> int:
    """Runs the tests; a filter that leaves no test of this target is no failure."""
    if scratch := os.environ.get("TEST_TMPDIR"):
        os.environ.setdefault("HOME", scratch)
    os.environ["PYTHONPATH"] = os.pathsep.join(shorten(os.environ["PYTHONPATH"].split(os.pathsep)))
    sys.path[:] = shorten(sys.path)

    import pytest  # noqa: PLC0415 - from the short path

    code = int(pytest.main(arguments(os.environ, sys.argv[1:])))
    filtered_out = (
        code == pytest.ExitCode.NO_TESTS_COLLECTED and "TESTBRIDGE_TEST_ONLY" in os.environ
    )
    return 0 if filtered_out else code


if __name__ == "__main__":
    sys.exit(main())
