"""What a table of front ends says about a case, and which of its entries could go: pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Final

from libs.haproxy.front_ends import FrontEndTable
from libs.testing.front_ends.cases import Case
from libs.testing.front_ends.compare import Answer, Difference

_BODY_BYTES_MAX: Final = 20_000
"""Larger bodies say nothing about single entries, and take long to look through for each."""


def python_test(table: FrontEndTable) -> Callable[[Case], bool]:
    """Return what tells whether the edge sends a case to the Python application."""
    pattern = re.compile(table.python_pattern.encode())

    def test(case: Case) -> bool:
        if case.method != "POST" or case.path.partition("?")[0] not in table.rust_paths:
            return True
        return pattern.search(case.body) is not None

    return test


def movable(
    table: FrontEndTable, found: Iterable[tuple[Case, Difference | None]]
) -> tuple[str, ...]:
    """Return the entries of a table without which every case would still get the right answer.

    An entry whose cases all agree "can move" to the Rust front end. An entry that no case needs is
    not among them: nothing is known about it.
    """
    singles = {name: python_test(single) for name, single in _singles(table)}
    alone: dict[str, list[Difference | None]] = {}
    for case, difference in found:
        if case.path in table.rust_paths and len(case.body) <= _BODY_BYTES_MAX:
            match [name for name, sends in singles.items() if sends(case)]:
                case [name]:
                    alone.setdefault(name, []).append(difference)
    return tuple(sorted(name for name, differences in alone.items() if not any(differences)))


def _singles(table: FrontEndTable) -> Iterator[tuple[str, FrontEndTable]]:
    for name, shape in table.values.items():
        yield name, replace(table, values={name: shape}, beginnings={})
    for name, shape in table.beginnings.items():
        yield name, replace(table, values={}, beginnings={name: shape})


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
