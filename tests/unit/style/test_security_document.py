"""Every line of SECURITY.md about what somebody can or cannot do names a test that exists."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
LINES = (ROOT / "SECURITY.md").read_text().splitlines()
NAMED = re.compile(r"\[`(test_\w+)`\]\((tests/[\w/]+\.py)\)")


def claims() -> list[str]:
    """Return the rows of the tables of what somebody can or cannot do."""
    found, inside = [], False
    for line in LINES:
        inside = line.startswith("| can or cannot") or (inside and line.startswith("|"))
        if inside and not line.startswith(("| can or cannot", "| ---")):
            found.append(line)
    return found


def test_every_claim_names_its_test_or_says_why_there_is_none() -> None:
    """A claim that nothing holds would be a wish."""
    bare = [each for each in claims() if not NAMED.search(each) and "not tested: " not in each]

    assert len(claims()) > 30
    assert bare == []


def test_every_named_test_exists() -> None:
    """A renamed test is renamed here too."""
    named = [found for line in LINES for found in NAMED.findall(line)]
    missing = [
        (name, file)
        for name, file in named
        if not (ROOT / file).is_file() or f"def {name}(" not in (ROOT / file).read_text()
    ]

    assert missing == []
