"""The stack that suffers: its own folder, disk, certificate and tenant."""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

from libs.errors import ControlPlaneError
from libs.testing.certificates import make_certificate, trusting_anything
from libs.testing.free_port import free_port
from libs.testing.local_stack import Done, LocalStack
from libs.testing.stack_inside import StackInside
from tools.bench.chaos.clients import SLOW, Access, Pace
from tools.cli.stack.processes import end, of_folder

MODEL: Final = "simulated"
_TENANT: Final = "chaos"
_START_S: Final = 420.0
_DISK_BYTES: Final = 2304 * 2**20
"""`up` wants 2 GiB; filled, they take as much memory."""
_GRACE_S: Final = 15.0

Say = Callable[[str], None]


class ChaosStackError(ControlPlaneError):
    """The stack did not start, or a command that must work did not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A running stack and what a fault needs of it.

    Attributes:
        has_own_disk: its folder is a file system of its own, so it can be filled.
    """

    stack: LocalStack
    stack_id: str
    access: Access
    trust: ssl.SSLContext
    replicas: int
    has_own_disk: bool

    @property
    def inside(self) -> StackInside:
        """Return the way to what only the stack itself knows."""
        return StackInside(stack=self.stack, stack_id=self.stack_id, trust=self.trust)

    @property
    def models_file(self) -> Path:
        """Return what is declared."""
        return models_path(self.stack.var)

    @property
    def certificate(self) -> Path:
        """Return the certificate that HAProxy follows."""
        return certificate_path(self.stack.var)

    def sluice(self, *arguments: str) -> Done:
        """Run a command that must work.

        Raises:
            ChaosStackError: it did not.
        """
        try:
            done = self.stack.sluice(*arguments)
        except subprocess.TimeoutExpired as exc:
            said = f"`sluice {' '.join(arguments)}` did not end within {exc.timeout:g} s"
            raise ChaosStackError(said) from exc
        if done.code != 0:
            raise ChaosStackError(f"`sluice {' '.join(arguments)}`: {done.err.strip()[-500:]}")
        return done


@contextmanager
def chaos_world(
    replicas: int, *, models: Path | None, say: Say, pace: Pace = SLOW
) -> Iterator[World]:
    """Start a stack with TLS and a tenant, hand it out, and leave nothing of it.

    Raises:
        ChaosStackError: it did not start.
    """
    var = Path(tempfile.mkdtemp(prefix="sl-", dir="/tmp"))
    has_own_disk = _mount(var, say)
    environment = {} if models is None else {"SLUICE_MODELS_DIR": str(models)}
    stack = LocalStack(var=var, port=free_port(), encrypted=True, environment=environment)
    try:
        say(f"starting a stack with {replicas} simulated replicas")
        yield _started(stack, replicas, pace, has_own_disk=has_own_disk)
    finally:
        _end(stack, mounted=has_own_disk, say=say)


def models_path(var: Path) -> Path:
    """Return where the declared models are written."""
    return var / "chaos-models.yaml"


def certificate_path(var: Path) -> Path:
    """Return where the API's certificate is written."""
    return var / "chaos-certificate.pem"


def models_text(replicas: int, pace: Pace, *, aliases: tuple[str, ...] = ()) -> str:
    """Return the models file."""
    model = {
        "name": MODEL,
        "device": "simulated",
        "aliases": list(aliases),
        "engine": {"max_model_len": 2048, "max_num_seqs": 16, "stall_timeout_s": 30},
        "scaling": {"min": replicas, "max": replicas + 1},
        "simulation": {"step_time_s": pace.step_time_s},
    }
    return str(yaml.safe_dump({"models": [model]}))


def _started(stack: LocalStack, replicas: int, pace: Pace, *, has_own_disk: bool) -> World:
    models_path(stack.var).write_text(models_text(replicas, pace))
    certificate_path(stack.var).write_text(make_certificate("chaos-0"))
    trust = trusting_anything()
    done = stack.sluice(
        *("up", "--detach", "--port", str(stack.port)),
        *("--models", str(models_path(stack.var))),
        *("--tls-certificate", str(certificate_path(stack.var))),
        timeout_s=_START_S,
    )
    if done.code != 0:
        raise ChaosStackError(f"`sluice up`: {done.err.strip()[-2000:]}")
    added = stack.sluice("tenant", "add", _TENANT)
    if added.code != 0:
        raise ChaosStackError(f"`sluice tenant add`: {added.err.strip()[-500:]}")
    return World(
        stack=stack,
        stack_id=stack.stack_id,
        access=Access(
            url=stack.api_url, model=MODEL, pace=pace, trust=trust, key=added.out.strip()
        ),
        trust=trust,
        replicas=replicas,
        has_own_disk=has_own_disk,
    )


def keep_logs(world: World, folder: Path) -> None:
    """Copy what the stack's programs wrote, before it is gone with the stack."""
    shutil.copytree(world.stack.var / "log", folder, dirs_exist_ok=True)


def _end(stack: LocalStack, *, mounted: bool, say: Say) -> None:
    say("stopping it")
    stack.sluice("down")
    end(lambda: of_folder(stack.var), grace_s=_GRACE_S)
    if mounted:
        _unmount(stack.var)
    shutil.rmtree(stack.var, ignore_errors=True)


def _mount(folder: Path, say: Say) -> bool:
    """Give a folder a file system of its own, in memory; False where that is not allowed."""
    size = f"size={_DISK_BYTES}"
    command = ["mount", "-t", "tmpfs", "-o", size, "sluice-chaos", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as exc:
        say(f"the disk is not filled: mount: {exc}")
        return False
    if done.returncode != 0:
        say(f"the disk is not filled: a file system of its own needs root ({done.stderr.strip()})")
    return done.returncode == 0


def _unmount(folder: Path) -> None:
    """Take the file system away; what still uses it keeps it until then."""
    for _ in range(10):
        done = subprocess.run(["umount", str(folder)], capture_output=True, check=False)
        if done.returncode == 0 or not os.path.ismount(folder):
            return
        time.sleep(0.5)
    subprocess.run(["umount", "--lazy", str(folder)], capture_output=True, check=False)
