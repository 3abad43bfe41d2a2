"""Rules for domain/ and libs/contracts: pure decisions, with time and chance as arguments."""

import ast
import sys
from collections.abc import Iterator

from tools.build.tidy.complaint import Complaint
from tools.build.tidy.tree import File

# Of the standard library: what acts, waits, asks or remembers.
IMPURE = frozenset(
    {"asyncio", "concurrent", "ctypes", "http", "io", "logging", "multiprocessing", "os", "pathlib",
     "queue", "random", "secrets", "select", "selectors", "shutil", "signal", "socket", "ssl",
     "subprocess", "sys", "tempfile", "threading", "time", "urllib"}
)  # fmt: skip
UNREPEATABLE = frozenset({"now", "utcnow", "today", "uuid1", "uuid4"})
UNREPEATABLE_OWNERS = frozenset({"datetime", "date", "uuid"})


def is_pure(path: str) -> bool:
    """Whether the module at this path has to be pure."""
    return "/domain/" in path and path.startswith("services/")


def check(file: File) -> Iterator[Complaint]:
    """Yields where a pure module reaches for the outside."""
    if not is_pure(file.path):
        return
    for node in ast.walk(file.syntax):
        for advice in _problems(file.path, node):
            line = getattr(node, "lineno", 1)
            if not file.allows(line, "pure-domain"):
                yield Complaint(path=file.path, line=line, rule="pure-domain", advice=advice)


def _problems(path: str, node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import | ast.ImportFrom):
        for module in _modules(node):
            if not _allowed(path, module):
                yield f"domain imports {module}; it may import libs.contracts and what is pure"
    elif isinstance(node, ast.Attribute) and _is_unrepeatable(node):
        yield f"{node.attr}() differs from call to call; take the value as an argument"


def _is_unrepeatable(node: ast.Attribute) -> bool:
    """Whether this names a member of datetime, date or uuid whose result is never the same."""
    owner = node.value.attr if isinstance(node.value, ast.Attribute) else node.value
    name = owner.id if isinstance(owner, ast.Name) else owner
    return node.attr in UNREPEATABLE and name in UNREPEATABLE_OWNERS


def _modules(node: ast.Import | ast.ImportFrom) -> list[str]:
    if isinstance(node, ast.ImportFrom):
        return [node.module or ""]
    return [alias.name for alias in node.names]


def _allowed(path: str, module: str) -> bool:
    own = path.partition("/domain/")[0].replace("/", ".") + ".domain"
    if module == own or module.startswith((f"{own}.", "libs.contracts")):
        return True
    top = module.partition(".")[0]
    return top in sys.stdlib_module_names and top not in IMPURE
