"""Runs pytest inside a Bazel test: report, filter and scratch folder come from Bazel."""

import os
import sys

import pytest


def arguments(environ: dict[str, str], given: list[str]) -> list[str]:
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
    scratch = os.environ.get("TEST_TMPDIR")
    if scratch:
        os.environ.setdefault("HOME", scratch)
    code = int(pytest.main(arguments(dict(os.environ), sys.argv[1:])))
    filtered_out = (
        code == pytest.ExitCode.NO_TESTS_COLLECTED and "TESTBRIDGE_TEST_ONLY" in os.environ
    )
    return 0 if filtered_out else code


if __name__ == "__main__":
    sys.exit(main())
