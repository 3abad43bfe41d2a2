"""Rules for Python modules: sizes, names, log calls, and what only some layers may do."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator

from tools.build.tidy.complaint import (
    BODY_LINES_MAX,
    FILE_LINES_MAX,
    TEST_FILE_LINES_MAX,
    TEST_NAME_WORDS_MIN,
    Complaint,
)
from tools.build.tidy.tree import File

BANNED_WORDS = frozenset({"manager", "helper", "helpers", "util", "utils", "common"})
BANNED_NAMES = frozenset({"process", "handle_data"})
WORD = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])")
LOG_METHODS = frozenset({"debug", "info", "warning", "error", "exception", "critical"})
LOGGER_NAME = re.compile(r"_?(log|logger)$")
EVENT_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*$")
CODE_TOKENS = frozenset(
    {tokenize.NAME, tokenize.OP, tokenize.NUMBER, tokenize.STRING, tokenize.ERRORTOKEN}
)

Function = ast.FunctionDef | ast.AsyncFunctionDef
Found = Iterator[tuple[int, str, str]]


def check(file: File) -> Iterator[Complaint]:
    """Yields what is wrong with a Python module."""
    if file.broken:
        yield Complaint(path=file.path, line=1, rule="syntax", advice=file.broken)
        return
    rules = (_sizes, _names, _module_name, _log_calls, _bare_except, _environment, _tasks, _tests)
    for rule in rules:
        for line, name, advice in rule(file):
            if not file.allows(line, name):
                yield Complaint(path=file.path, line=line, rule=name, advice=advice)


def _sizes(file: File) -> Found:
    limit = TEST_FILE_LINES_MAX if file.is_test else FILE_LINES_MAX
    if len(file.lines) > limit:
        yield 1, "file-length", f"{len(file.lines)} lines, at most {limit}; one concept per module"
    code = code_lines(file.text)
    for function in _functions(file.syntax):
        body = body_lines(function, code)
        if body > BODY_LINES_MAX:
            advice = f"{function.name} has {body} lines of code, at most {BODY_LINES_MAX}: split it"
            yield function.lineno, "body-length", advice


def code_lines(text: str) -> frozenset[int]:
    """Returns the numbers of the lines that hold code: no comments, no blank lines."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in CODE_TOKENS:
            lines.update(range(token.start[0], token.end[0] + 1))
    return frozenset(lines)


def body_lines(function: Function, code: frozenset[int]) -> int:
    """Counts the lines of code in a function's body, its docstring left out."""
    has_docstring = ast.get_docstring(function, clean=False) is not None
    statements = function.body[1:] if has_docstring else function.body
    return sum(
        len(code.intersection(range(part.lineno, (part.end_lineno or part.lineno) + 1)))
        for part in statements
    )


def _functions(tree: ast.Module) -> Iterator[Function]:
    for node in ast.walk(tree):
        if isinstance(node, Function):
            yield node


def _names(file: File) -> Found:
    for node in ast.walk(file.syntax):
        for name in _introduced(node):
            if complaint := banned(name):
                yield getattr(node, "lineno", 1), "banned-name", complaint


def _introduced(node: ast.AST) -> Iterator[str]:
    """Yields the names that a piece of syntax brings into the world."""
    if isinstance(node, Function | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.arg):
        yield node.arg
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        yield node.id


def banned(name: str) -> str | None:
    """Says why a name says nothing, or returns None for a good one."""
    if name in BANNED_NAMES:
        return f"{name!r} says nothing; name what it is or what it does"
    words = {word.lower() for word in WORD.findall(name)} & BANNED_WORDS
    return f"{words.pop()!r} in {name!r} says nothing; name what it does" if words else None


def _module_name(file: File) -> Found:
    for part in file.path.removesuffix(".py").split("/"):
        if complaint := banned(part):
            yield 1, "banned-name", complaint


def _log_calls(file: File) -> Found:
    for node in ast.walk(file.syntax):
        if not (isinstance(node, ast.Call) and _is_log_method(node.func)):
            continue
        event = node.args[0] if node.args else None
        if not (isinstance(event, ast.Constant) and EVENT_NAME.match(str(event.value))):
            advice = "name the event with a constant in snake_case and give the rest as fields"
            yield node.lineno, "log-event", advice


def _is_log_method(func: ast.expr) -> bool:
    if not (isinstance(func, ast.Attribute) and func.attr in LOG_METHODS):
        return False
    receiver = func.value
    name = receiver.attr if isinstance(receiver, ast.Attribute) else getattr(receiver, "id", "")
    return LOGGER_NAME.match(name) is not None


def _bare_except(file: File) -> Found:
    for node in ast.walk(file.syntax):
        if isinstance(node, ast.ExceptHandler) and node.type is None:
            yield node.lineno, "bare-except", "catch what you can act on, by its type"


def _environment(file: File) -> Found:
    """In services and libraries one class reads the environment: the settings."""
    if not file.path.startswith(("services/", "libs/")):
        return
    if file.path.endswith("/settings.py") or file.path.startswith("libs/testing/"):
        return
    for node in ast.walk(file.syntax):
        if isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv"}:
            advice = "take the value as an argument; settings.py reads the environment"
            yield node.lineno, "environment", advice


def _tasks(file: File) -> Found:
    if file.is_test:
        return
    for node in ast.walk(file.syntax):
        if (
            isinstance(node, ast.Attribute)
            and node.attr in {"create_task", "ensure_future"}
            and isinstance(node.value, ast.Name)
            and node.value.id == "asyncio"
        ):
            yield node.lineno, "orphan-task", "start it in the service's TaskGroup"


def _tests(file: File) -> Found:
    if not file.is_test:
        return
    for node in ast.walk(file.syntax):
        if isinstance(node, ast.ImportFrom | ast.Import) and _imports_mock(node):
            yield node.lineno, "mock", "use a fake with behaviour, from libs/testing"
        if isinstance(node, Function) and node.name.startswith("test_"):
            words = node.name.removeprefix("test_").split("_")
            if len(words) < TEST_NAME_WORDS_MIN:
                yield node.lineno, "test-name", "let the name be a sentence about the behaviour"


def _imports_mock(node: ast.ImportFrom | ast.Import) -> bool:
    modules = {node.module} if isinstance(node, ast.ImportFrom) else {a.name for a in node.names}
    return "unittest.mock" in modules or "mock" in modules
