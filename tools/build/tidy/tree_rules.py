"""Rules for the tree as a whole: packages, pages, build files, modules that nobody uses."""

import ast
import re
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from tools.build.tidy.complaint import Complaint
from tools.build.tidy.tree import File

PACKAGE_ROOTS = ("libs/", "services/", "tools/", "deploy/local/")
STANDINS = "tools/build/standins/"
# Its folder is an import root of its own: vLLM finds the plugin as an installed distribution.
PLUGIN = PurePosixPath("libs/engine/plugin")
SERVICE_FILE = re.compile(r"services/\w+/")
# What is started by name and not imported.
STARTED = frozenset({"__init__", "__main__", "conftest"})


def check(files: Sequence[File]) -> Iterator[Complaint]:
    """Yields what is missing in the tree."""
    yield from _packages(files)
    yield from _services(files)
    yield from _tests_are_built(files)
    yield from _dead_modules(files)
    yield from _locks(files)


def _complaint(path: str, rule: str, advice: str) -> Complaint:
    return Complaint(path=path, line=1, rule=rule, advice=advice)


def _our_modules(files: Sequence[File]) -> list[File]:
    return [
        file
        for file in files
        if file.is_python and file.path.startswith(PACKAGE_ROOTS) and STANDINS not in file.path
    ]


def _packages(files: Sequence[File]) -> Iterator[Complaint]:
    by_path = {file.path: file for file in files}
    for folder in sorted({str(PurePosixPath(file.path).parent) for file in _our_modules(files)}):
        init = by_path.get(f"{folder}/__init__.py")
        if init is None:
            advice = "add __init__.py with a docstring that says what the package is for"
            yield _complaint(f"{folder}/__init__.py", "package", advice)
        elif ast.get_docstring(init.syntax) is None:
            yield _complaint(init.path, "package", "say in a docstring what the package is for")


def _services(files: Sequence[File]) -> Iterator[Complaint]:
    paths = {file.path for file in files}
    inside = [path.split("/")[1] for path in paths if SERVICE_FILE.match(path)]
    for service in sorted(set(inside)):
        for page in ("README.md", "BUILD.bazel"):
            if f"services/{service}/{page}" not in paths:
                yield _complaint(
                    f"services/{service}/{page}", "service", f"every service has a {page}"
                )


def _tests_are_built(files: Sequence[File]) -> Iterator[Complaint]:
    paths = {file.path for file in files}
    for file in files:
        path = PurePosixPath(file.path)
        if (
            file.is_test
            and path.name.startswith("test_")
            and f"{path.parent}/BUILD.bazel" not in paths
        ):
            advice = "Bazel does not see this test; add a BUILD.bazel with a pytest_test beside it"
            yield _complaint(file.path, "unbuilt-test", advice)


def _dead_modules(files: Sequence[File]) -> Iterator[Complaint]:
    used = {name for file in files if file.is_python for name in _imported(file)}
    for file in _our_modules(files):
        path = PurePosixPath(file.path)
        names = _ways_to_name(path)
        if path.stem in STARTED or used.intersection(names):
            continue
        others = (other.text for other in files if other.path != file.path)
        if not any(name in text for text in others for name in names):
            yield _complaint(file.path, "dead-module", "nobody imports or starts it; remove it")


def _ways_to_name(path: PurePosixPath) -> frozenset[str]:
    """Returns a module's dotted name, its path and its label."""
    inside = path.relative_to(PLUGIN) if path.is_relative_to(PLUGIN) else path
    dotted = ".".join(inside.with_suffix("").parts)
    return frozenset({dotted, str(path), f"//{path.parent}:{path.name}"})


def _imported(file: File) -> Iterator[str]:
    for node in ast.walk(file.syntax):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _locks(files: Sequence[File]) -> Iterator[Complaint]:
    for file in files:
        if file.path.startswith("requirements/") and file.path.endswith(".lock"):
            for number, line in enumerate(file.lines, start=1):
                if "://" in line or line.startswith("-"):
                    advice = "a lock names packages and hashes, no places; see tools/build/lock.sh"
                    yield Complaint(path=file.path, line=number, rule="lock", advice=advice)
