"""Spans on their way to files and to a collector, with the real SDK."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from libs.telemetry.file_exporter import FILES_PER_SERVICE_MAX, FileSpanExporter
from libs.telemetry.otlp_json import read_spans

PROGRAM = """
import os, sys, time
from pathlib import Path
from opentelemetry import trace
from libs.telemetry.logging import configure_logging, get_logger
from libs.telemetry.tracing import configure_tracing

configure_logging("svc")
configure_tracing("svc", Path(sys.argv[1]), os.environ, ratio=float(sys.argv[2]))
with trace.get_tracer("t").start_as_current_span("work"):
    get_logger("m").info("work_done", count=3)
time.sleep(float(sys.argv[3]))
if len(sys.argv) > 4:
    os._exit(0)
"""

FINISHED = """
import os, sys
from pathlib import Path
from libs.telemetry.finished_span import FinishedSpan
from libs.telemetry.tracing import configure_tracing

provider = configure_tracing("svc", Path(sys.argv[1]), os.environ, ratio=0.0)
record = provider.recorder("elsewhere")
record([FinishedSpan(name="over", trace_id="a" * 32, span_id="b" * 16, parent_span_id="c" * 16,
                     start_ns=1, end_ns=2, attributes={"tokens": 3})])
provider.shutdown()
"""


def test_a_span_is_on_disk_within_a_second(tmp_path: Path) -> None:
    """Even of a process that dies without a goodbye afterwards."""
    run_program(tmp_path, "1", "0.9", "die")

    (span,) = read_spans(tmp_path)

    assert (span.name, span.service) == ("work", "svc")


def test_a_process_that_ends_writes_what_it_has(tmp_path: Path) -> None:
    """The provider is shut down at exit."""
    run_program(tmp_path, "1", "0")

    assert len(read_spans(tmp_path)) == 1


def test_traces_that_are_not_sampled_are_not_written(tmp_path: Path) -> None:
    """A ratio of 0 keeps nothing that begins here."""
    run_program(tmp_path, "0", "0")

    assert read_spans(tmp_path) == []


def test_log_lines_are_json_and_name_their_trace(tmp_path: Path) -> None:
    """A log line leads to its trace and back."""
    output = run_program(tmp_path, "1", "0")

    fields = json.loads(output)
    (span,) = read_spans(tmp_path)
    assert (fields["event"], fields["count"], fields["service"]) == ("work_done", 3, "svc")
    assert (fields["trace_id"], fields["span_id"]) == (span.trace_id, span.span_id)


def test_with_an_endpoint_spans_go_to_the_collector(tmp_path: Path) -> None:
    """OTLP over HTTP, and no file."""
    with collector() as (url, requests):
        run_program(tmp_path, "1", "0", env={"OTEL_EXPORTER_OTLP_ENDPOINT": url})

    (body,) = requests
    found = ExportTraceServiceRequest.FromString(body)
    assert found.resource_spans[0].scope_spans[0].spans[0].name == "work"
    assert read_spans(tmp_path) == []


def test_spans_of_other_processes_are_written_whatever_the_ratio(tmp_path: Path) -> None:
    """Whether a trace is kept was decided where it began."""
    run_program(tmp_path, program=FINISHED)

    (span,) = read_spans(tmp_path)

    assert (span.name, span.service, span.scope) == ("over", "svc", "elsewhere")
    assert (span.trace_id, span.parent_span_id) == ("a" * 32, "c" * 16)


def test_spans_of_other_processes_go_to_the_collector_too(tmp_path: Path) -> None:
    """With an endpoint, and no file."""
    with collector() as (url, requests):
        run_program(tmp_path, program=FINISHED, env={"OTEL_EXPORTER_OTLP_ENDPOINT": url})

    (body,) = requests
    found = ExportTraceServiceRequest.FromString(body).resource_spans[0].scope_spans[0]
    assert (found.scope.name, found.spans[0].name) == ("elsewhere", "over")
    assert found.spans[0].attributes[0].value.int_value == 3
    assert read_spans(tmp_path) == []


def test_a_full_file_is_set_aside_and_two_are_kept(tmp_path: Path) -> None:
    """Disk use is bounded; the newest spans are there."""
    exporter = FileSpanExporter(tmp_path, "svc", file_bytes_max=4_000)
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("t")

    for number in range(50):
        tracer.start_span(f"span-{number}").end()

    names = [span.name for span in read_spans(tmp_path)]
    sizes = [path.stat().st_size for path in tmp_path.iterdir()]
    assert names[-1] == "span-49"
    assert len(sizes) == 2
    assert max(sizes) <= 4_000


def test_files_of_long_gone_processes_are_removed(tmp_path: Path) -> None:
    """The oldest of the same service go first; other services' files stay."""
    for number in range(FILES_PER_SERVICE_MAX + 10):
        path = tmp_path / f"svc-{number}.jsonl"
        path.touch()
        os.utime(path, (number, number))
    (tmp_path / "other-1.jsonl").touch()

    FileSpanExporter(tmp_path, "svc")

    left = {path.name for path in tmp_path.iterdir()}
    assert len(left) == FILES_PER_SERVICE_MAX
    assert "svc-0.jsonl" not in left
    assert {"other-1.jsonl", f"svc-{FILES_PER_SERVICE_MAX + 9}.jsonl"} <= left


def run_program(
    folder: Path, *arguments: str, env: dict[str, str] | None = None, program: str = PROGRAM
) -> str:
    """Run a process with its own tracing and return what it printed."""
    inherited = {name: text for name, text in os.environ.items() if not name.startswith("OTEL_")}
    inherited["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    result = subprocess.run(
        [sys.executable, "-c", program, str(folder), *arguments],
        env=inherited | (env or {}),
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert result.stderr == ""
    return result.stdout


@contextmanager
def collector() -> Iterator[tuple[str, list[bytes]]]:
    """Collect what is posted to the traces path of an OTLP collector."""
    bodies: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", bodies
        time.sleep(0)
        server.shutdown()
        thread.join()
