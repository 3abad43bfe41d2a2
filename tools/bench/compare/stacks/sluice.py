"""Sluice itself, as `./sluice up` starts it: NATS, control plane, traces and all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import yaml

from deploy.local.places import run_folder
from libs.contracts.model_spec import ModelSpec, SimulationSpec
from tools.bench.compare.stacks.launch import StackFailedError
from tools.bench.compare.stacks.port import Setup
from tools.cli.stack.ports import free_ports
from tools.cli.stack.processes import end_all
from tools.cli.stack.record import load

_END_S: Final = 60.0
_GRACE_S: Final = 15.0
_SHOWN_CHARACTERS: Final = 300


class SluiceStack:
    """A stack of our own with its state in a folder of its own."""

    def __init__(self, setup: Setup) -> None:
        """Choose the API's port."""
        self._setup = setup
        (self._port,) = free_ports(1)
        self._up: subprocess.Popen[bytes] | None = None
        self._stack_id = ""

    @property
    def url(self) -> str:
        """Where clients send requests."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def stack_id(self) -> str:
        """The mark that `up` gave to each of its processes."""
        return self._stack_id

    @property
    def _record(self) -> Path:
        return run_folder(self._setup.folder, user_id=os.geteuid()) / "stack.json"

    def start(self) -> None:
        """Run `up --detach`, which returns when every replica has answered."""
        setup = self._setup
        models = setup.folder / "models.yaml"
        models.write_text(yaml.safe_dump(models_file(setup.spec)))
        timeout = str(setup.timeout_s)
        arguments = ["--port", str(self._port), "--models", str(models), "--timeout", timeout]
        self._up = self._run("up", "--detach", *arguments)
        self._up.wait(setup.timeout_s + 2 * _END_S)
        record = load(self._record)
        if self._up.returncode != 0 or record is None:
            said = setup.log_file.read_text(errors="replace").strip()[-_SHOWN_CHARACTERS:]
            raise StackFailedError(f"`./sluice up`: {said}")
        self._stack_id = record.stack_id

    def stop(self) -> None:
        """Run `down`; an `up` that is under way is interrupted first, and cleans up itself."""
        if self._up is not None and self._up.poll() is None:
            self._up.send_signal(signal.SIGINT)
            _wait(self._up)
        record = load(self._record)
        _wait(self._run("down"))
        if record is not None:
            end_all(record.stack_id, grace_s=_GRACE_S)

    def _run(self, *arguments: str) -> subprocess.Popen[bytes]:
        setup = self._setup
        places = {"SLUICE_VAR": str(setup.folder), "SLUICE_MODELS_DIR": str(setup.model.parent)}
        with setup.log_file.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "tools.cli", *arguments],
                cwd=setup.root,
                env={**os.environ, **places},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )


def _wait(started: subprocess.Popen[bytes]) -> None:
    """Wait for a command; one that does not end is killed, and the next step cleans up."""
    try:
        started.wait(_END_S)
    except subprocess.TimeoutExpired:
        started.kill()
        started.wait()


def models_file(spec: ModelSpec) -> dict[str, object]:
    """Return what `up --models` reads for a simulated model."""
    simulation = spec.simulation or SimulationSpec()
    return {
        "models": [
            {
                "name": spec.name,
                "device": spec.device.value,
                "engine": {
                    "max_model_len": spec.engine.max_model_len,
                    "max_num_seqs": spec.engine.max_num_seqs,
                },
                "scaling": {"min": spec.scaling.min, "max": spec.scaling.max},
                "simulation": {
                    "step_time_s": simulation.step_time_s,
                    "prefill_time_per_token_s": simulation.prefill_time_per_token_s,
                    "kv_capacity_tokens": simulation.kv_capacity_tokens,
                    "jitter_ratio": simulation.jitter_ratio,
                    "seed": simulation.seed,
                },
            }
        ]
    }
