"""`./sluice bench load` as a user runs it: exit codes, bad input, JSON and pictures."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from libs.testing.canned_server import answered, canned_server
from libs.testing.fake_replica import FakeReplica, Script, fake_replica
from libs.testing.free_port import free_port
from libs.testing.local_stack import ROOT, Done, sluice


async def bench_load(tmp_path: Path, *options: str) -> Done:
    """Run the command beside the server in this loop."""
    return await asyncio.to_thread(sluice, "bench", "load", *options, var=tmp_path / "var")


def url(replica: FakeReplica) -> str:
    """Return a replica's URL as OpenAI's clients take it."""
    return f"http://127.0.0.1:{replica.endpoint.port}/v1"


def refused(done: Done, told: str) -> None:
    """Check the exit code, the one line, and what it says."""
    assert done.code == 2, done
    (line,) = done.err.strip().splitlines()
    assert re.search(told, line), line


async def test_json_and_pictures_of_a_small_run(tmp_path: Path) -> None:
    """Nothing but JSON on standard output."""
    async with fake_replica("m", Script(tokens=4, first_token_s=0.5)) as replica:
        done = await bench_load(
            tmp_path,
            *("--url", url(replica), "--clients", "2", "--requests", "6", "--json"),
            *("--slo-ttft-s", "10", "--plot", str(tmp_path / "plots")),
        )

    found = json.loads(done.out)
    assert found["requests"]["ok"] == 6
    assert found["latency"]["ttft"]["p99_s"] >= 0.5
    assert found["goodput"]["ratio"] == 1.0
    assert done.code == (0 if found["valid"] else 1), done.err
    for picture in ("latency.png", "timeline.png"):
        assert (tmp_path / "plots" / picture).read_bytes().startswith(b"\x89PNG")


async def test_a_run_without_answers_is_not_valid(tmp_path: Path) -> None:
    """Exit code 1, with the reason and the server's own words."""
    async with canned_server(answered(503, "no replica")) as server:
        done = await bench_load(
            tmp_path, "--url", server, "--model", "m", "--clients", "1", "--requests", "2"
        )

    assert done.code == 1, done
    assert "http_503" in done.out
    assert "no replica" in done.out
    assert "NOT VALID: nothing was measured" in done.err


async def test_an_unknown_model_is_refused_with_those_that_there_are(tmp_path: Path) -> None:
    """One token is asked for before, since not every listing is complete."""
    async with canned_server(answered(404, '{"error":{"message":"no such model"}}')) as server:
        done = await bench_load(tmp_path, "--url", server, "--model", "gpt-9")

    refused(done, r"does not serve 'gpt-9' .*HTTP 404.*no such model")


async def test_several_models_need_a_name(tmp_path: Path) -> None:
    """The line lists them."""
    listing = '{"object":"list","data":[{"id":"a"},{"id":"b"}]}'
    async with canned_server(answered(200, listing)) as server:
        done = await bench_load(tmp_path, "--url", server)

    refused(done, "--model; the target lists a, b")


async def test_a_target_that_is_down_is_named(tmp_path: Path) -> None:
    """With the way to name another."""
    port = free_port()

    done = await bench_load(tmp_path, "--url", f"http://127.0.0.1:{port}")

    refused(done, rf"nothing serves at http://127\.0\.0\.1:{port} .*--url")


async def test_without_a_stack_and_a_url_the_way_out_is_told(tmp_path: Path) -> None:
    """The default target is this checkout's stack."""
    refused(await bench_load(tmp_path), "not running here.*sluice up")


async def test_a_broken_trace_is_refused_by_its_line(tmp_path: Path) -> None:
    """Before anything is asked of the target."""
    trace = tmp_path / "trace.jsonl"
    trace.write_text('{"timestamp": 0, "input_length": "many"}\n')

    done = await bench_load(tmp_path, "--url", "http://127.0.0.1:9", "--trace", str(trace))

    refused(done, r"trace\.jsonl:1: expected .*hash_ids.*found")


def interrupt_after(replica: FakeReplica, requests: int, group: int) -> None:
    """Press Ctrl-C when so many requests have come: the terminal tells the whole group."""
    while len(replica.seen) < requests:
        time.sleep(0.05)
    os.killpg(group, signal.SIGINT)


@pytest.mark.parametrize("as_json", [True, False])
async def test_ctrl_c_prints_what_was_seen_so_far(tmp_path: Path, as_json: bool) -> None:  # noqa: FBT001 - both forms
    """And leaves no process behind."""
    async with fake_replica("m", Script(tokens=3, token_s=0.02)) as replica:
        options = ["--url", url(replica), "--clients", "2", "--duration-s", "600"]
        running = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tools.cli", "bench", "load", *options),
            *(["--json"] if as_json else []),
            cwd=ROOT,
            env=os.environ | {"SLUICE_VAR": str(tmp_path / "var")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        await asyncio.to_thread(interrupt_after, replica, 10, running.pid)
        out, err = (part.decode() for part in await running.communicate())

    assert running.returncode == 130, err
    assert "Traceback" not in err
    assert "interrupted" in err
    if as_json:
        assert json.loads(out)["interrupted"] is True
        assert json.loads(out)["requests"]["ok"] > 0
    else:
        assert "time to first token" in out
    with pytest.raises(ProcessLookupError):
        os.killpg(running.pid, 0)
