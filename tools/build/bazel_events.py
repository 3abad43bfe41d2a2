"""Reads Bazel's build event protocol (JSON lines): which targets were tested, with what result.

Source: Bazel, `build_event_stream.proto` (TestResult, TargetComplete, Aborted).
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import unquote, urlparse

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetRun:
    """One run of a test target. report is the path of its JUnit file, None when it has none."""

    label: str
    status: str
    report: str | None
    cached: bool
    duration_s: float

    @property
    def passed(self) -> bool:
        """Whether Bazel counts the run as a success."""
        return self.status == "PASSED"


@dataclass(frozen=True, slots=True, kw_only=True)
class NotBuilt:
    """A target that could not be loaded, analysed or built."""

    label: str
    reason: str


Outcome: TypeAlias = TargetRun | NotBuilt


def outcomes(lines: Iterable[str]) -> Iterator[Outcome]:
    """Yields the results among the events, in the order in which they came."""
    for line in lines:
        event = json.loads(line)
        named = _member(event, "id")
        if "testResult" in named and "testResult" in event:
            yield _tested(_member(named, "testResult"), _member(event, "testResult"))
        elif "targetCompleted" in named and not _member(event, "completed").get("success", False):
            label = _text(_member(named, "targetCompleted"), "label")
            reason = _text(_member(event, "aborted"), "description") or "it could not be built"
            yield NotBuilt(label=label, reason=reason)


def _tested(named: Mapping[str, Json], result: Mapping[str, Json]) -> TargetRun:
    return TargetRun(
        label=_text(named, "label"),
        status=_text(result, "status"),
        report=_report(result.get("testActionOutput")),
        cached=bool(result.get("cachedLocally")),
        duration_s=int(_text(result, "testAttemptDurationMillis") or 0) / 1000,
    )


def _report(outputs: Json) -> str | None:
    for output in outputs if isinstance(outputs, list) else []:
        if isinstance(output, dict) and output.get("name") == "test.xml":
            return unquote(urlparse(_text(output, "uri")).path)
    return None


def _member(value: Mapping[str, Json], name: str) -> Mapping[str, Json]:
    inner = value.get(name)
    return inner if isinstance(inner, dict) else {}


def _text(value: Mapping[str, Json], name: str) -> str:
    inner = value.get(name)
    return inner if isinstance(inner, str) else ""
