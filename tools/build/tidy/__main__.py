"""Checks the tree below the current folder: `python -m tools.build.tidy`."""

import sys
from collections.abc import Iterator
from pathlib import Path

from tools.build.tidy import domain_rules, python_rules, text_rules, tree, tree_rules
from tools.build.tidy.complaint import Complaint


def complaints(files: list[tree.File]) -> Iterator[Complaint]:
    """Yields everything that is wrong with the tree."""
    yield from tree_rules.check(files)
    for file in files:
        yield from text_rules.check(file)
        if file.is_python:
            yield from python_rules.check(file)
            yield from domain_rules.check(file)


def main() -> int:
    """Prints the complaints; returns 1 when there are any."""
    found = sorted(complaints(tree.read(Path.cwd())))
    for complaint in found:
        print(complaint)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
