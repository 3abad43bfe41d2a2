"""Makes a Bazel repository of the packages that are installed in a site-packages folder.

Every distribution gets a folder of links and a py_library of its own, so that a target sees
what it depends on and nothing else. A folder counts as one input for Bazel: a sandbox with two
hundred distributions is two hundred links, not seventy thousand. A subfolder that belongs to one
distribution alone is linked whole, compiled bytecode included.

`site_packages` is all of them at once, as they are installed: for tests that start whole programs,
and have no use for knowing who needs what.
"""

import argparse
import importlib.metadata
import os
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

LOCKED = re.compile(
    r"^(?P<name>[A-Za-z0-9._-]+)(\[(?P<extras>[^\]]*)\])?==(?P<version>[^\s;\\]+)"
    r"(\s*;(?P<marker>[^\\]*))?"
)
SCRIPTS = ("..", "..", "..", "bin")
# Every folder has the shape of a virtual environment, so that the paths which a distribution
# records for its programs (../../../bin/NAME) are right here too.
SITE = PurePosixPath("lib/py/site")

BUILD_HEAD = """\
load("@rules_python//python:defs.bzl", "py_library")

package(default_visibility = ["//visibility:public"])
"""

BUILD_LIBRARY = """
py_library(
    name = "{name}",
    data = {folders},
    imports = {roots},
    deps = {deps},
)
"""

BUILD_EVERYTHING = """
py_library(
    name = "all_packages",
    data = ["site_packages"],
    imports = ["site_packages"],
)
"""

REQUIREMENTS = '''\
"""The packages of {lock}."""

_NAMES = {names}

all_requirements = ["@{repository}//:all_packages"]

def requirement(name):
    """Returns the label of a package, given its name on the package index."""
    key = name.split("[")[0].lower().replace("-", "_").replace(".", "_")
    if key not in _NAMES:
        fail("%s is not in {lock}; add it to common.in there and run tools/build/lock.sh" % name)
    return "@{repository}//:" + key

def install_deps(**_kwargs):
    """Does nothing: what the repository names is installed."""
'''


@dataclass(frozen=True)
class Locked:
    """One line of the lock: a package that has to be installed in this version."""

    version: str
    extras: frozenset[str]


def key(name: str) -> str:
    """Spells a distribution's name the way its label is spelled."""
    return re.sub(r"[-_.]+", "_", name).lower()


def read_lock(path: Path) -> dict[str, Locked]:
    """Reads the packages that the lock wants on this platform.

    A package may stand there twice, with an extra and without.
    """
    from packaging.markers import Marker

    locked: dict[str, Locked] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        found = LOCKED.match(line)
        if found is None:
            continue
        marker = (found["marker"] or "").strip()
        if marker and not Marker(marker).evaluate():
            continue
        name, extras = key(found["name"]), (found["extras"] or "").replace(" ", "").split(",")
        known = locked[name].extras if name in locked else frozenset()
        locked[name] = Locked(found["version"], known.union(filter(None, extras)))
    return locked


def installed(
    site: Path, wanted: Mapping[str, Locked]
) -> dict[str, importlib.metadata.Distribution]:
    """Returns the locked distributions; exits when one is missing or has another version."""
    from packaging.version import Version

    present = {
        key(d.metadata["Name"]): d for d in importlib.metadata.distributions(path=[str(site)])
    }
    versions = {name: dist.version for name, dist in present.items()}
    wrong = [
        f"{name}: locked {lock.version}, installed {versions.get(name)}"
        for name, lock in wanted.items()
        if name not in versions or Version(versions[name]) != Version(lock.version)
    ]
    if wrong:
        sys.exit(f"{site} does not hold what the lock says:\n  " + "\n  ".join(wrong))
    return {name: present[name] for name in wanted}


def needs(
    dist: importlib.metadata.Distribution, extras: Iterable[str]
) -> Iterator[tuple[str, set[str]]]:
    """Yields the distributions that this one asks for with these extras, and their extras."""
    from packaging.requirements import Requirement

    for text in dist.requires or []:
        wanted = Requirement(text)
        marker = wanted.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            yield key(wanted.name), wanted.extras


def extras_in_use(
    dists: Mapping[str, importlib.metadata.Distribution], wanted: Mapping[str, Locked]
) -> dict[str, set[str]]:
    """Returns the extras that the lock, or any distribution in it, asks for."""
    extras = {name: set(lock.extras) for name, lock in wanted.items()}
    waiting = list(dists)
    while waiting:
        name = waiting.pop()
        for need, asked in needs(dists[name], extras[name]):
            if need in dists and not asked <= extras[need]:
                extras[need] |= asked
                waiting.append(need)
    return extras


def dependencies(
    dists: Mapping[str, importlib.metadata.Distribution], wanted: Mapping[str, Locked]
) -> dict[str, set[str]]:
    """Returns, for every distribution, those of the lock that it needs."""
    extras = extras_in_use(dists, wanted)
    return {
        name: {need for need, _ in needs(dist, extras[name]) if need in dists} - {name}
        for name, dist in dists.items()
    }


def components(graph: Mapping[str, set[str]]) -> dict[str, tuple[str, ...]]:
    """Returns, for every node, the nodes that it shares a cycle with, itself included.

    Bazel allows no cycle among targets, but packages need each other in circles.
    """
    reach = {node: _reachable(graph, node) for node in graph}
    return {
        node: tuple(
            sorted(other for other in reach[node] | {node} if other == node or node in reach[other])
        )
        for node in graph
    }


def _reachable(graph: Mapping[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        for child in graph[waiting.pop()] - seen:
            seen.add(child)
            waiting.append(child)
    return seen


def recorded_files(dist: importlib.metadata.Distribution) -> Iterator[PurePosixPath]:
    """Yields the files of a distribution that lie in site-packages."""
    for file in dist.files or []:
        if ".." not in file.parts and "__pycache__" not in file.parts and not file.is_absolute():
            yield PurePosixPath(*file.parts)


def owners_of_folders(
    dists: Mapping[str, importlib.metadata.Distribution],
) -> dict[PurePosixPath, set[str]]:
    """Says which distributions have files below each folder of site-packages."""
    owners: dict[PurePosixPath, set[str]] = defaultdict(set)
    for name, dist in dists.items():
        for file in recorded_files(dist):
            for folder in file.parents:
                owners[folder].add(name)
    return owners


def link_distribution(
    dist: importlib.metadata.Distribution,
    site: Path,
    target: Path,
    owners: Mapping[PurePosixPath, set[str]],
) -> None:
    """Links the files of one distribution: whole folders where it is the only owner."""
    linked: set[PurePosixPath] = set()
    for file in recorded_files(dist):
        own = [folder for folder in file.parents if folder.name and len(owners[folder]) == 1]
        what = own[-1] if own else file
        if what in linked or not (site / what).exists():
            continue
        linked.add(what)
        place = target / what
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(site / what)


def link_scripts(dist: importlib.metadata.Distribution, target: Path) -> None:
    """Links the programs that a wheel puts beside the interpreter, to bin/ in its folder."""
    for file in dist.files or []:
        if file.parts[:4] == SCRIPTS:
            (target / "bin").mkdir(parents=True, exist_ok=True)
            (target / "bin" / file.name).symlink_to(os.path.realpath(str(dist.locate_file(file))))


def build_file(graph: Mapping[str, set[str]]) -> str:
    """Renders the BUILD file with one library per distribution."""
    circles = components(graph)
    parts = [BUILD_HEAD]
    for name in sorted(graph):
        circle = circles[name]
        deps = sorted({dep for member in circle for dep in graph[member]} - set(circle))
        folders = [f"packages/{member}" for member in circle]
        roots = [f"{folder}/{SITE}" for folder in folders]
        labels = [f":{dep}" for dep in deps]
        parts.append(BUILD_LIBRARY.format(name=name, folders=folders, roots=roots, deps=labels))
    return "".join([*parts, BUILD_EVERYTHING])


def lay_out(lock: Path, site: Path, repository: str) -> None:
    """Writes the repository into the current folder."""
    wanted = read_lock(lock)
    dists = installed(site, wanted)
    Path("site_packages").symlink_to(site)
    owners = owners_of_folders(dists)
    for name, dist in dists.items():
        target = Path("packages") / name
        (target / SITE).mkdir(parents=True)
        link_distribution(dist, site, target / SITE, owners)
        link_scripts(dist, target)
    graph = dependencies(dists, wanted)
    Path("BUILD.bazel").write_text(build_file(graph), encoding="utf-8")
    named = REQUIREMENTS.format(
        lock=f"requirements/{lock.name}", names=sorted(dists), repository=repository
    )
    Path("requirements.bzl").write_text(named, encoding="utf-8")


def main() -> None:
    """Reads the command line and lays out the repository."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lock", type=Path, required=True)
    parser.add_argument("--repository", required=True)
    parser.add_argument("--site-packages", type=Path, required=True)
    args = parser.parse_args()
    sys.path.append(str(args.site_packages))  # for `packaging`, which the lock always holds
    lay_out(args.lock, args.site_packages.absolute(), args.repository)


if __name__ == "__main__":
    main()
