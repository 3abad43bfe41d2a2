"""Bad input gets one clear line and exit code 2, and nothing is left running."""

import os
import re
import shutil
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local.places import run_folder
from libs.testing.free_port import free_port
from libs.testing.local_stack import ROOT, Done, sluice
from libs.testing.tiny_model import write_tiny_model


def refused(done: Done, told: str) -> None:
    """Check the exit code, the one line, and what it says."""
    assert done.code == 2, done
    (line,) = done.err.strip().splitlines()
    assert re.search(told, line), line


def up(tmp_path: Path, *options: str) -> Done:
    """Run `up` in a folder of its own; it must end by itself and leave no stack."""
    done = sluice("up", "--detach", *options, var=tmp_path / "var")
    assert not run_folder(tmp_path / "var", user_id=os.geteuid()).exists()
    return done


def models_file(tmp_path: Path, entry: str) -> str:
    """Write a models file with one entry."""
    path = tmp_path / "models.yaml"
    path.write_text(f"models: [{{{entry}}}]")
    return str(path)


def test_a_taken_port_names_the_port_and_the_way_out(tmp_path: Path) -> None:
    """The most common surprise on a laptop."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        done = up(tmp_path, "--port", str(port))

    refused(done, rf"port {port} on 127\.0\.0\.1 is taken .*--port")


def test_an_address_beyond_loopback_is_refused(tmp_path: Path) -> None:
    """Before anything starts where there was never a tenant; the line says what to do."""
    done = up(tmp_path, "--host", "0.0.0.0", "--port", str(free_port()))  # noqa: S104 - refused

    refused(done, r"listen on 0\.0\.0\.0 without a tenant or TLS.*tenant add.*--tls-certificate")


def test_an_address_beyond_loopback_is_refused_where_no_tenant_is_left(tmp_path: Path) -> None:
    """The bus of an earlier stack is asked, and stopped again; Ray does not start for it."""
    (tmp_path / "var" / "nats" / "store").mkdir(parents=True)
    models = models_file(tmp_path, "name: a, source: ./weights, device: simulated")
    write_tiny_model(tmp_path / "weights", context_tokens=512)

    done = up(
        tmp_path,
        *("--host", "0.0.0.0", "--port", str(free_port()), "--models", models),  # noqa: S104
    )

    refused(done, r"listen on 0\.0\.0\.0 without a tenant or TLS")
    assert not (tmp_path / "var" / "log" / "ray.log").exists()


def test_a_missing_certificate_is_named(tmp_path: Path) -> None:
    """Before anything starts."""
    nowhere = tmp_path / "nowhere.pem"

    done = up(tmp_path, "--tls-certificate", str(nowhere), "--port", str(free_port()))

    refused(done, f"--tls-certificate {nowhere}: No such file")


def test_more_replicas_than_fit_are_refused(tmp_path: Path) -> None:
    """Before anything starts."""
    simulated = str(ROOT / "deploy" / "local" / "simulated.yaml")

    done = up(tmp_path, "--models", simulated, "--replicas", "65", "--port", str(free_port()))

    refused(done, "65 workers, this node has room for 64")


def test_a_missing_model_directory_is_named(tmp_path: Path) -> None:
    """The path that was tried stands in the line."""
    file = models_file(tmp_path, "name: a, source: ./nowhere")

    done = up(tmp_path, "--models", file, "--port", str(free_port()))

    refused(done, f"{tmp_path}/nowhere")


def test_a_model_too_large_for_the_memory_is_refused_with_figures(tmp_path: Path) -> None:
    """Better now than when the kernel ends the engine."""
    weights = tmp_path / "big"
    weights.mkdir()
    (weights / "config.json").write_text('{"model_type": "llama", "torch_dtype": "float32"}')
    header = b'{"w": {"dtype": "F32", "shape": [1048576, 1048576], "data_offsets": [0, 0]}}'
    (weights / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    file = models_file(tmp_path, "name: a, source: ./big")

    done = up(tmp_path, "--models", file, "--port", str(free_port()))

    refused(done, r"too large.*GiB")


def test_an_old_haproxy_is_refused_with_its_version(tmp_path: Path) -> None:
    """2.8 is the oldest whose dynamic servers can be trusted."""
    old = tmp_path / "haproxy"
    old.write_text("#!/bin/sh\necho 'HAProxy version 2.4.22 2023/02/14'\n")
    old.chmod(0o755)

    done = subprocess.run(
        [*command(), "up", "--detach", "--port", str(free_port())],
        cwd=ROOT,
        env={
            **environment(tmp_path),
            "SLUICE_ROUTER_CONFIG_HAPROXY_BINARY": str(old),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    refused(Done(code=done.returncode, out=done.stdout, err=done.stderr), r"2\.4\.22.*2\.8")


@pytest.mark.parametrize(
    "program", ["status", "chat hello", "scale smollm2 2", "apply x.yaml", "tenant add acme"]
)
def test_commands_without_a_stack_say_how_to_start_one(tmp_path: Path, program: str) -> None:
    """Every command that needs a stack answers alike."""
    (tmp_path / "x.yaml").write_text("models: []")
    words = [word if word != "x.yaml" else str(tmp_path / word) for word in program.split()]

    done = sluice(*words, var=tmp_path / "var")

    refused(done, r"Sluice is not running here; start it with `\./sluice up`")


def test_down_without_a_stack_is_no_error(tmp_path: Path) -> None:
    """Stopping twice is stopping."""
    done = sluice("down", var=tmp_path / "var")

    assert done.code == 0
    assert "was not running" in done.out


def test_an_old_python_is_refused_by_the_script(tmp_path: Path) -> None:
    """The script itself must run where only an old Python is."""
    programs = path_without_python(tmp_path)
    old = programs / "python3"
    old.write_text('#!/bin/sh\n[ "$1" = -V ] && echo "Python 3.9.2"\nexit 1\n')
    old.chmod(0o755)

    done = subprocess.run(
        ["/bin/sh", str(script(tmp_path)), "status"],
        env={"PATH": str(programs)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    refused(
        Done(code=done.returncode, out=done.stdout, err=done.stderr),
        r"Python 3\.11 or newer is needed, found: Python 3\.9\.2",
    )


def path_without_python(tmp_path: Path) -> Path:
    """Return a folder with what a small machine has on its PATH, and no Python."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for name in (
        "dirname",
        "cksum",
        "cat",
        "grep",
        "awk",
        "sed",
        "rm",
        "touch",
        "tr",
        "mkdir",
        "flock",
    ):
        if found := shutil.which(name):
            (folder / name).symlink_to(found)
    return folder


def script(tmp_path: Path) -> Path:
    """Return a copy of the script in a checkout without a virtual environment."""
    checkout = tmp_path / "checkout"
    (checkout / "requirements").mkdir(parents=True)
    (checkout / "requirements" / "cpu.lock").write_text("pip==1\n")
    copy = checkout / "sluice"
    copy.write_bytes((ROOT / "sluice").read_bytes())
    return copy


def command() -> list[str]:
    """Return the command line's own command."""
    return [sys.executable, "-m", "tools.cli"]


def environment(tmp_path: Path) -> dict[str, str]:
    """Return the environment of a command with a state folder of its own."""
    roots = f"{ROOT}:{os.environ.get('PYTHONPATH', '')}".rstrip(":")
    return {**os.environ, "PYTHONPATH": roots, "SLUICE_VAR": str(tmp_path / "var")}
