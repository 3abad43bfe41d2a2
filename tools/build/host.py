"""What this machine has: Bazel, or a way to get it, and a way to the archive of the rules."""

import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Timer

ARCHIVE_HOST = ("github.com", 443)
REACH_TIMEOUT_S = 3.0
INSTALL_TIMEOUT_S = 900.0
BAZEL_PACKAGE = "bazel-bootstrap"
# What of apt-get's hundreds of lines says how far it is, or what went wrong.
APT_NEWS = ("Need to get", "Fetched", "Setting up default-jdk", "Setting up bazel", "E:", "Err:")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bazel:
    """A Bazel to run. standins says whether external repositories come from the checkout."""

    program: str
    standins: bool
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NoBazel:
    """There is no Bazel, for this reason."""

    why: str


def find(say: Callable[[str], None], environ: Mapping[str, str]) -> Bazel | NoBazel:
    """Returns the machine's Bazel, after installing it where that is possible."""
    program = shutil.which("bazel") or shutil.which("bazelisk")
    if program is None:
        complaint = install(say)
        if complaint:
            return NoBazel(why=complaint)
        program = shutil.which("bazel")
    if program is None:
        return NoBazel(why=f"{BAZEL_PACKAGE} was installed but puts no bazel on PATH")
    standins, why = choose_standins(program, environ)
    return Bazel(program=program, standins=standins, why=why)


def choose_standins(program: str, environ: Mapping[str, str]) -> tuple[bool, str]:
    """Says whether to use the stand-ins for external repositories, and why."""
    given = environ.get("BAZEL_OFFLINE")
    if given is not None:
        return given == "1", f"BAZEL_OFFLINE={given}"
    if is_distribution_build(program):
        return True, "a distribution's Bazel lacks repositories that the stand-ins replace"
    if not reachable(ARCHIVE_HOST):
        return True, f"{ARCHIVE_HOST[0]} cannot be reached"
    return False, f"{ARCHIVE_HOST[0]} can be reached"


def is_distribution_build(program: str) -> bool:
    """Whether this is Debian's build, which carries no version."""
    done = subprocess.run(
        [program, "--version"], capture_output=True, text=True, timeout=120, check=False
    )
    return "no_version" in done.stdout


def reachable(address: tuple[str, int]) -> bool:
    """Whether a TCP connection opens within REACH_TIMEOUT_S."""
    try:
        with socket.create_connection(address, timeout=REACH_TIMEOUT_S):
            return True
    except OSError:
        return False


def install(say: Callable[[str], None]) -> str | None:
    """Installs Bazel from Debian's packages; returns why not, or None when it is there."""
    if shutil.which("apt-get") is None:
        return "there is no bazel on PATH, and this machine has no apt-get to install it with"
    if os.geteuid() != 0:
        return f"there is no bazel on PATH, and only root can run: apt-get install {BAZEL_PACKAGE}"
    say(f"Installing Bazel: apt-get install {BAZEL_PACKAGE} (half a minute and more)")
    install_it = ["install", "-y", "--no-install-recommends", BAZEL_PACKAGE]
    if _apt(install_it, say) or (_apt(["update"], say) and _apt(install_it, say)):
        return None
    return f"apt-get could not install {BAZEL_PACKAGE}"


def _apt(arguments: Sequence[str], say: Callable[[str], None]) -> bool:
    """Runs apt-get, tells how far it is, and returns whether it succeeded in time."""
    running = subprocess.Popen(
        ["apt-get", "-q", "-o", "Dpkg::Use-Pty=0", *arguments],
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    too_late = Timer(INSTALL_TIMEOUT_S, running.kill)
    too_late.start()
    try:
        for line in running.stdout or ():
            if line.startswith(APT_NEWS):
                say(f"  {line.rstrip()}")
        return running.wait() == 0
    finally:
        too_late.cancel()


def site_packages(python: Path) -> Path:
    """Returns the site-packages folder of the virtual environment that python belongs to."""
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    done = subprocess.run(
        [str(python), "-c", where], capture_output=True, text=True, timeout=60, check=True
    )
    return Path(done.stdout.strip())
