"""Watchers see every call and never change, delay or break one.

Invariants: the method's result, exceptions and arguments are the method's own; an exception of a
watcher is counted and goes no further; installing twice watches once.
"""

from __future__ import annotations

import pytest
from sluice_vllm_plugin.hooks import Failures, Hook, Watcher, install, missing_methods


class Sample:
    """A class with a method to watch; each test watches a copy."""

    def double(self, number: int, *, plus: int = 0) -> int:
        """Return twice a number, and a little more."""
        if number < 0:
            raise ValueError("negative")
        return 2 * number + plus


def sample_class() -> type[Sample]:
    """Return a copy of the class."""
    return type("Sample", (), dict(Sample.__dict__))


def double_of(owner: type[Sample], watcher: Watcher) -> tuple[Hook]:
    """Return a hook for the method."""
    return (Hook(owner=owner, name="double", watcher=watcher),)


def test_a_watcher_sees_result_and_arguments() -> None:
    """The result comes first."""
    sample, seen = sample_class(), list[object]()

    def watcher(result: int, _self: Sample, number: int, *, plus: int) -> None:
        seen.append((result, number, plus))

    install(double_of(sample, watcher), Failures())

    assert sample().double(4, plus=1) == 9
    assert seen == [(9, 4, 1)]


def test_a_watcher_that_raises_is_counted_and_nothing_else_happens() -> None:
    """The engine must not end because of a report."""
    sample, failures = sample_class(), Failures()

    def watcher(*_: object) -> None:
        raise RuntimeError

    install(double_of(sample, watcher), failures)

    assert [sample().double(number) for number in (1, 2)] == [2, 4]
    assert failures.count == 2


def test_an_exception_of_the_method_stays_the_callers() -> None:
    """A call that failed is not seen."""
    sample, seen = sample_class(), list[object]()
    install(double_of(sample, lambda *args: seen.append(args)), Failures())

    with pytest.raises(ValueError, match="negative"):
        sample().double(-1)
    assert seen == []


def test_a_request_to_exit_passes_through_a_watcher() -> None:
    """VLLM ends its engine core by raising SystemExit out of a signal."""
    sample = sample_class()

    def watcher(*_: object) -> None:
        raise SystemExit

    install(double_of(sample, watcher), Failures())

    with pytest.raises(SystemExit):
        sample().double(1)


def test_a_subclass_that_calls_its_base_is_watched() -> None:
    """VLLM's asynchronous scheduler is a subclass."""
    sample, seen = sample_class(), list[object]()
    install(double_of(sample, lambda *args: seen.append(args[0])), Failures())

    special = type("Special", (sample,), {"double": lambda self, n: sample.double(self, n) + 100})

    assert special().double(1) == 102
    assert seen == [2]


def test_installing_twice_watches_once() -> None:
    """VLLM may load a plugin more than once."""
    sample, seen = sample_class(), list[object]()
    hooks = double_of(sample, lambda *args: seen.append(args[0]))

    install(hooks, Failures())
    install(hooks, Failures())
    sample().double(1)

    assert seen == [2]


def test_a_method_that_is_gone_is_named_and_nothing_is_watched() -> None:
    """Half a set of hooks would give half a truth."""
    sample, seen = sample_class(), list[object]()
    hooks = (
        *double_of(sample, lambda *args: seen.append(args)),
        Hook(owner=sample, name="triple", watcher=lambda *args: seen.append(args)),
    )

    with pytest.raises(AttributeError, match=r"vLLM has no Sample\.triple"):
        install(hooks, Failures())
    sample().double(1)

    assert missing_methods(hooks) == ["Sample.triple"]
    assert seen == []
