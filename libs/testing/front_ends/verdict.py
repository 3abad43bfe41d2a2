"""What a table of front ends says about a case, and which of its entries could go: pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache

from libs.haproxy.front_ends import FrontEndTable
from libs.testing.front_ends.cases import Case
from libs.testing.front_ends.compare import Answer, Difference


def needs_python(table: FrontEndTable, case: Case) -> bool:
    """Tell whether the edge sends a case to the Python application."""
    if case.method != "POST" or case.path.partition("?")[0] not in table.rust_paths:
        return True
    return _compiled(table.python_pattern).search(case.body) is not None


@lru_cache(maxsize=64)
def _compiled(pattern: str) -> re.Pattern[bytes]:
    return re.compile(pattern.encode())


def movable(
    table: FrontEndTable, found: Iterable[tuple[Case, Difference | None]]
) -> tuple[str, ...]:
    """Return the entries of a table without which every case would still get the right answer.

    An entry whose cases all agree "can move" to the Rust front end. An entry that no case needs is
    not among them: nothing is known about it.
    """
    pairs = tuple(found)
    return tuple(name for name, smaller in _without_one(table) if _all_agree(table, smaller, pairs))


def _without_one(table: FrontEndTable) -> Iterator[tuple[str, FrontEndTable]]:
    for name in table.values:
        yield name, replace(table, values=_without(table.values, name))
    for name in table.beginnings:
        yield name, replace(table, beginnings=_without(table.beginnings, name))


def _without(members: Mapping[str, str], name: str) -> dict[str, str]:
    return {other: shape for other, shape in members.items() if other != name}


def _all_agree(
    table: FrontEndTable,
    smaller: FrontEndTable,
    pairs: tuple[tuple[Case, Difference | None], ...],
) -> bool:
    moved = [
        difference
        for case, difference in pairs
        if needs_python(table, case) and not needs_python(smaller, case)
    ]
    return bool(moved) and all(difference is None for difference in moved)


def movable_paths(
    table: FrontEndTable, found: Iterable[tuple[Case, Answer, Difference | None]]
) -> tuple[str, ...]:
    """Return the paths that Python serves, and Rust would: all of their POST requests agree."""
    differ: dict[str, bool] = {}
    served: set[str] = set()
    for case, python, difference in found:
        path = case.path.partition("?")[0]
        if case.method == "POST" and path not in table.rust_paths:
            differ[path] = differ.get(path, False) or difference is not None
            served |= {path} if python.is_success else set()
    return tuple(sorted(path for path in served if not differ[path]))


def fields_without_a_case(fields: Iterable[str], cases: Iterable[Case], path: str) -> set[str]:
    """Return the fields of a request's protocol that no case of a path uses."""
    bodies = [case.body for case in cases if case.path == path]
    return {name for name in fields if not any(f'"{name}"'.encode() in body for body in bodies)}
