"""Rules for files of every kind, and for Markdown."""

import re
from collections.abc import Iterator

from tools.build.tidy.complaint import FILE_SIZE_MAX_BYTES, Complaint
from tools.build.tidy.tree import File

# Spelled in pieces, so that this file does not complain about itself.
MACHINE_PATH = re.compile(r"(?<![\w.])/" + r"(?:root|home|work|Users)/[\w.]")
REGISTRY = re.compile(
    r"py" + r"pi\.org|python" + r"hosted\.org|npm" + r"js\.org|deb\.deb" + r"ian\.org"
)
TODO = re.compile(r"(?:#|//|<!--|\"\"\")\s*TODO\b(?!\(#\d+\))")
FENCE = re.compile(r"^\s*(```|~~~)")
INLINE_CODE = re.compile(r"`[^`]*`")
TWO_SENTENCES = re.compile(r"[a-z0-9)`\"][.!?] +[A-Z]")
LIST_NUMBER = re.compile(r"^\s*\d+\. ")
ABBREVIATION = re.compile(r"\b(e\.g|i\.e|etc|vs|cf|Dr|No)\.")
# It quotes what it bans, and its rules are lists of phrases.
STYLE_GUIDE = "docs/STYLE.md"
NARRATION = re.compile(r"\b(previously|recently|formerly|nowadays)\b", re.IGNORECASE)


def check(file: File) -> Iterator[Complaint]:
    """Yields what is wrong with a file, whatever it holds."""
    if file.size_bytes > FILE_SIZE_MAX_BYTES:
        yield Complaint(
            path=file.path,
            line=1,
            rule="large-file",
            advice=f"{file.size_bytes} bytes; at most {FILE_SIZE_MAX_BYTES}: make it when needed",
        )
    for number, line in enumerate(file.lines, start=1):
        for rule, advice in _line_rules(line):
            if not file.allows(number, rule):
                yield Complaint(path=file.path, line=number, rule=rule, advice=advice)
    if file.path.endswith(".md"):
        yield from _check_markdown(file)


def _line_rules(line: str) -> Iterator[tuple[str, str]]:
    if MACHINE_PATH.search(line):
        yield "machine-path", "a path of one machine; use a relative path or a setting"
    if REGISTRY.search(line):
        yield "registry-host", "a package registry's host; let the clients' own settings name it"
    if TODO.search(line):
        yield "todo", "name the issue, TODO(#12): ..., or do it"


def _check_markdown(file: File) -> Iterator[Complaint]:
    if not file.text.startswith("# "):
        yield Complaint(
            path=file.path, line=1, rule="title", advice="start the page with `# ` and its title"
        )
    if file.path == STYLE_GUIDE:
        return
    for number, line in _prose(file):
        for rule, advice in _prose_rules(line, is_changelog=file.path == "CHANGELOG.md"):
            if not file.allows(number, rule):
                yield Complaint(path=file.path, line=number, rule=rule, advice=advice)


def _prose(file: File) -> Iterator[tuple[int, str]]:
    """Yields the lines outside code blocks, tables and headings, inline code taken out."""
    fenced = False
    for number, line in enumerate(file.lines, start=1):
        if FENCE.match(line):
            fenced = not fenced
        elif not fenced and not line.lstrip().startswith(("|", "#")):
            yield number, LIST_NUMBER.sub("", INLINE_CODE.sub("`x`", line))


def _prose_rules(line: str, *, is_changelog: bool) -> Iterator[tuple[str, str]]:
    if TWO_SENTENCES.search(ABBREVIATION.sub(r"\1", line)):
        yield "sentences", "write one sentence per line"
    if not is_changelog and NARRATION.search(line):
        yield "narration", "documents describe the present; leave history to CHANGELOG.md and git"
