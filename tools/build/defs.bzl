"""The rules that BUILD files of this workspace use."""

load("@pypi//:requirements.bzl", "all_requirements", "requirement")
load("@rules_python//python:defs.bzl", "py_library", "py_test")
load("//tools/build:image.bzl", _service_image = "service_image")

service_image = _service_image

_PYTEST_MAIN = "//tools/build:pytest_main.py"

# Seconds for one test function of a target: short enough that a test which hangs is named, with the
# place where it hangs, before Bazel ends the target (--test_timeout in .bazelrc).
_TEST_TIMEOUT_S = {
    "small": 150,
    "medium": 240,
    "large": 600,
    "enormous": 900,
}

def sluice_library(name, srcs, pypi = [], deps = [], **kwargs):
    """A Python library; a file's import path is its path from the workspace root.

    Args:
      name: the target's name.
      srcs: the modules.
      pypi: packages of the lock that the modules import, by their name on the index.
      deps: libraries of this workspace that the modules import.
      **kwargs: handed on to py_library (data, imports, visibility, ...).
    """
    py_library(
        name = name,
        srcs = srcs,
        srcs_version = "PY3",
        deps = deps + _packages_above() + [requirement(package) for package in pypi],
        **kwargs
    )

def pytest_test(
        name,
        srcs,
        size,
        pypi = [],
        deps = [],
        data = [],
        args = [],
        whole_programs = False,
        **kwargs):
    """Runs pytest on the files of srcs that are named test_*.py.

    Each target writes one JUnit report, with one case per test function.

    Args:
      name: the target's name.
      srcs: test modules, and the conftest.py and other modules beside them.
      size: how long the tests may take, from small to enormous.
      pypi: packages of the lock that the tests import, by their name on the index.
      deps: libraries of this workspace that the tests import.
      data: files that the tests read.
      args: more arguments for pytest.
      whole_programs: the tests start programs (Ray, vLLM, a stack): these see the whole lock, as
        they do where they are installed, and start several times faster for it.
      **kwargs: handed on to py_test (tags, timeout, flaky, shard_count, ...).
    """
    tests = [src for src in srcs if src.split("/")[-1].split(":")[-1].startswith("test_")]
    if not tests:
        fail("%s: no test_*.py among srcs" % name)
    packages = ["hypothesis", "pytest", "pytest-asyncio", "pytest-timeout"] + pypi
    everything = all_requirements if whole_programs else []
    programs = ["@host_python//:rust_front_end"] if whole_programs else []
    py_test(
        name = name,
        srcs = srcs + [_PYTEST_MAIN],
        main = _PYTEST_MAIN,
        size = size,
        args = ["--timeout=%d" % _TEST_TIMEOUT_S[size]] + args + ["$(rootpath %s)" % test for test in tests],
        data = data + programs + ["//:pytest.ini"],
        python_version = "PY3",
        srcs_version = "PY3",
        deps = _once(deps + [requirement(package) for package in packages] + everything),
        **kwargs
    )

def _once(labels):
    """The labels without repetitions, which Bazel takes for a mistake."""
    return {label: None for label in labels}.keys()

def _packages_above():
    """The __init__.py of the top folder, which every module's import path goes through."""
    top = native.package_name().split("/")[0]
    return ["//%s:package" % top] if top in ["libs", "services", "tools"] and native.package_name() != top else []
