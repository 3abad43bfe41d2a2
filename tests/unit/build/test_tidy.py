"""tidy's rules: each one on a piece of code that breaks it and on one that keeps it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tools.build.tidy import domain_rules, python_rules, text_rules, tree_rules
from tools.build.tidy.complaint import BODY_LINES_MAX, Complaint
from tools.build.tidy.tree import File, read

Check = Callable[[File], Iterator[Complaint]]


def rules_broken(check: Check, path: str, text: str) -> set[str]:
    """Returns the rules that a file with this text breaks."""
    file = File(path=path, size_bytes=len(text), text=text)
    return {complaint.rule for complaint in check(file)}


def lines_of_code(number: int) -> str:
    """A function with so many lines of code."""
    return "def f():\n" + "    x = 1\n" * number


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (lines_of_code(BODY_LINES_MAX + 1), "body-length"),
        ("x = 1\n" * 501, "file-length"),
        ("class JobManager:\n    pass\n", "banned-name"),
        ("def load(process):\n    pass\n", "banned-name"),
        ("log.info(f'joined {name}')\n", "log-event"),
        ("self._log.warning('Replica Joined')\n", "log-event"),
        ("try:\n    pass\nexcept:\n    pass\n", "bare-except"),
        ("import os\nx = os.environ['X']\n", "environment"),
        ("import asyncio\nasyncio.create_task(run())\n", "orphan-task"),
        ("def broken(:\n", "syntax"),
    ],
)
def test_code_that_breaks_a_rule_is_named_with_the_rule(text: str, rule: str) -> None:
    """One complaint for each rule."""
    broken = rules_broken(python_rules.check, "services/x/service.py", text)

    assert broken == {rule}


@pytest.mark.parametrize(
    "text",
    [
        lines_of_code(BODY_LINES_MAX),
        'def f():\n    """Doc."""\n' + "    # comment\n\n" * 60 + "    return 1\n",
        "class JobQueue:\n    pass\n",
        "log.info('replica_joined', replica=name)\n",
        "math.log(x)\nerrors.error(f'{x}')\n",
        "async with TaskGroup() as tasks:\n    tasks.create_task(run())\n",
        "asyncio.create_task(run())  # tidy: allow orphan-task - awaited two lines below\n",
    ],
)
def test_good_code_has_no_complaint(text: str) -> None:
    """Comments and docstrings are no code; an exception may be allowed with a reason."""
    broken = rules_broken(python_rules.check, "services/x/service.py", text)

    assert broken == set()


def test_settings_and_tools_may_read_the_environment() -> None:
    """Where the rule ends."""
    text = "import os\nx = os.environ\n"

    places = ["services/x/settings.py", "tools/cli/app.py", "libs/testing/nats.py"]

    assert [rules_broken(python_rules.check, place, text) for place in places] == [set()] * 3


@pytest.mark.parametrize(
    "text",
    [
        "import asyncio\n",
        "from nats.aio import client\n",
        "from services.y.domain import model\n",
        "from datetime import datetime\nx = datetime.now()\n",
        "import uuid\nx = uuid.uuid4()\n",
    ],
)
def test_a_domain_that_reaches_out_is_named(text: str) -> None:
    """What acts, waits, asks or differs from call to call."""
    broken = rules_broken(domain_rules.check, "services/x/domain/decide.py", text)

    assert broken == {"pure-domain"}


@pytest.mark.parametrize(
    "text",
    [
        "from libs.contracts.events import ReplicaReady\n",
        "from services.x.domain.model import State\n",
        "from datetime import timedelta\nx = clock.now\n",
    ],
)
def test_a_domain_of_values_has_no_complaint(text: str) -> None:
    """Contracts, the pure part of the standard library, and its own modules."""
    broken = rules_broken(domain_rules.check, "services/x/domain/decide.py", text)

    assert broken == set()


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("No title\n", "title"),
        ("# Title\n\nOne sentence. Another one.\n", "sentences"),
        ("# Title\n\nIt was previously slow.\n", "narration"),
        ("# Title\n\nSee " + "/" + "root/x for it.\n", "machine-path"),
        ("# Title\n\n<!-- TO" + "DO write this -->\n", "todo"),
    ],
)
def test_a_page_that_breaks_a_rule_is_named_with_the_rule(text: str, rule: str) -> None:
    """Rules for Markdown and for all text."""
    broken = rules_broken(text_rules.check, "docs/PAGE.md", text)

    assert broken == {rule}


def test_code_blocks_and_abbreviations_are_no_sentences() -> None:
    """What looks like two sentences and is not."""
    text = "# T\n\nNames, e.g. Ray, as in `a. B`.\n\n```\nOne. Two.\n```\n\n| One. Two. |\n"

    broken = rules_broken(text_rules.check, "docs/PAGE.md", text)

    assert broken == set()


def test_a_module_that_nobody_imports_is_dead() -> None:
    """An import from elsewhere brings it to life."""
    init, lonely = File("libs/x/__init__.py", 9, '"""X."""\n'), File("libs/x/a.py", 6, "y = 1\n")
    user = File("tests/unit/x/test_a.py", 20, "from libs.x import a\n")
    build = File("tests/unit/x/BUILD.bazel", 0, "")

    alone = [complaint.rule for complaint in tree_rules.check([init, lonely])]
    used = [complaint.rule for complaint in tree_rules.check([init, lonely, user, build])]

    assert (alone, used) == (["dead-module"], [])


def test_a_service_has_a_page_and_a_build_file() -> None:
    """Both are asked for by name."""
    init = File("services/x/__init__.py", 9, '"""X."""\n')

    missing = [complaint.path for complaint in tree_rules.check([init])]

    assert missing == ["services/x/README.md", "services/x/BUILD.bazel"]


def test_a_lock_names_no_place() -> None:
    """Neither an index nor a folder of wheels."""
    lock = File("requirements/cpu.lock", 9, "a==1 \\\n    --hash=sha256:0\n--find-links wheels\n")

    lines = [complaint.line for complaint in tree_rules.check([lock])]

    assert lines == [3]


def test_what_is_not_ours_is_not_read(tmp_path: Path) -> None:
    """Caches and environments are not, nor the file with which git marks a worktree."""
    (tmp_path / ".git").write_text("gitdir: elsewhere\n")
    (tmp_path / ".gitignore").write_text("/var/\n")
    for folder in ("libs", "var", ".venv"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.py").touch()

    found = [file.path for file in read(tmp_path)]

    assert found == [".gitignore", "libs/x.py"]
