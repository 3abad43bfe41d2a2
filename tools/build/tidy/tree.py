"""The files of the checkout that are ours, and how to read them."""

import ast
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

SKIPPED_FOLDERS = frozenset({"var", "__pycache__", "node_modules"})
# Other hidden folders are caches, environments, and git's own.
HIDDEN_BUT_OURS = frozenset({".ci"})
# In a worktree of git's it is a file, which names the repository by its path on the machine.
GIT_FILE = ".git"
TEXT_SUFFIXES = frozenset(
    {"", ".py", ".md", ".bzl", ".bazel", ".sh", ".toml", ".ini", ".yaml", ".yml", ".cfg", ".lua",
     ".in", ".lock", ".json", ".conf", ".txt"}
)  # fmt: skip


@dataclass(frozen=True)
class File:
    """A file by its path from the root, with slashes."""

    path: str
    size_bytes: int
    text: str

    @property
    def is_python(self) -> bool:
        """Whether the file is a Python module."""
        return self.path.endswith(".py")

    @property
    def is_test(self) -> bool:
        """Whether the file belongs to the tests."""
        return self.path.startswith("tests/")

    @cached_property
    def lines(self) -> list[str]:
        """The lines of the text, without their ends."""
        return self.text.splitlines()

    @cached_property
    def syntax(self) -> ast.Module:
        """The syntax tree of a Python module; empty when it is no Python (see `broken`)."""
        return ast.Module(body=[], type_ignores=[]) if self.broken else ast.parse(self.text)

    @cached_property
    def broken(self) -> str | None:
        """Says why a module cannot be parsed, None when it can."""
        try:
            ast.parse(self.text)
        except SyntaxError as error:
            return f"line {error.lineno}: {error.msg}"
        return None

    def allows(self, line: int, rule: str) -> bool:
        """Whether the line carries `# tidy: allow RULE - reason` for this rule."""
        text = self.lines[line - 1] if 0 < line <= len(self.lines) else ""
        return re.search(rf"tidy: allow {re.escape(rule)} - \S", text) is not None


def read(root: Path) -> list[File]:
    """Reads the tree; files that hold no text have an empty one."""
    return [_read_file(root, path) for path in sorted(_walk(root))]


def _walk(root: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if _is_ours(name)]
        paths = (Path(folder, name) for name in names if name != GIT_FILE)
        yield from (path for path in paths if not path.is_symlink())


def _is_ours(folder: str) -> bool:
    if folder.startswith("."):
        return folder in HIDDEN_BUT_OURS
    return folder not in SKIPPED_FOLDERS


def _read_file(root: Path, path: Path) -> File:
    is_text = path.suffix in TEXT_SUFFIXES
    return File(
        path=path.relative_to(root).as_posix(),
        size_bytes=path.stat().st_size,
        text=path.read_text(encoding="utf-8", errors="replace") if is_text else "",
    )
