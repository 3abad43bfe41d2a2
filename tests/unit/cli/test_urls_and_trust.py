"""Where this machine's commands find the API, and how they trust it."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import yaml

from deploy.local.prometheus_conf import render_prometheus_conf
from libs.testing.certificates import make_certificate
from tools.cli.stack.layout import Layout, layout
from tools.cli.stack.programs import programs
from tools.cli.stack.record import StackRecord
from tools.cli.stack.trust import trust, trusting

RECORD = StackRecord(
    stack_id="x",
    started_at=0.0,
    api_host="127.0.0.1",
    api_port=8080,
    stats_port=1,
    nats_port=2,
    ray_port=3,
    ray_agent_port=5,
    dashboard_port=6,
    metrics_port=7,
)
ENCRYPTED = replace(RECORD, tls_certificate="/etc/sluice.pem")


def a_layout(var: Path) -> Layout:
    """Return the folders of a stack."""
    return layout(root=Path("/r"), var=var, models=None, user_id=1)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8080"),
        ("0.0.0.0", "http://127.0.0.1:8080"),  # noqa: S104 - compared, not bound
        ("::1", "http://[::1]:8080"),
        ("::", "http://[::1]:8080"),
        ("10.0.0.1", "http://10.0.0.1:8080"),
    ],
)
def test_the_url_is_one_that_this_machine_can_ask(host: str, url: str) -> None:
    """Every address is none to ask."""
    assert replace(RECORD, api_host=host).api_url == url
    assert replace(ENCRYPTED, api_host=host).api_url == url.replace("http", "https")


def test_the_certificate_reaches_router_config_only_where_there_is_one() -> None:
    """An empty setting would be the name of a file."""

    def environment(record: StackRecord) -> dict[str, str]:
        found = programs(
            a_layout(Path("/v")), record, nats_server="nats", environment={}, cuda=False
        )
        return dict(next(each.environment for each in found if each.name == "router-config"))

    name = "SLUICE_ROUTER_CONFIG_TLS_CERTIFICATE_FILE"
    assert environment(ENCRYPTED)[name] == "/etc/sluice.pem"
    assert name not in environment(RECORD)
    assert environment(RECORD)["SLUICE_ROUTER_CONFIG_METRICS_PORT"] == "7"


def test_without_tls_there_is_nothing_to_trust(tmp_path: Path) -> None:
    """With it, it is the copy that HAProxy serves."""
    assert trust(a_layout(tmp_path), RECORD) is True
    with pytest.raises(FileNotFoundError):
        trust(a_layout(tmp_path), ENCRYPTED)


def test_only_the_very_certificate_is_trusted(tmp_path: Path) -> None:
    """Whatever name it carries, and nobody else's with the same name."""
    ours, other = make_certificate("sluice.example"), make_certificate("sluice.example")
    with serving(tmp_path, ours, connections=2) as url:
        found = httpx.get(url, verify=trusting(ours))
        with pytest.raises(httpx.ConnectError, match="verify failed"):
            httpx.get(url, verify=trusting(other))

    assert found.status_code == 204


def test_prometheus_gets_the_stacks_ports() -> None:
    """Two fixed jobs, and the replicas as router-config lists them."""
    found = yaml.safe_load(render_prometheus_conf(metrics_port=7, stats_port=1))

    jobs = {job["job_name"]: job for job in found["scrape_configs"]}
    assert jobs["sluice-router-config"]["static_configs"] == [{"targets": ["127.0.0.1:7"]}]
    assert jobs["sluice-haproxy"]["static_configs"] == [{"targets": ["127.0.0.1:1"]}]
    (replicas,) = jobs["sluice-replicas"]["http_sd_configs"]
    assert replicas["url"] == "http://127.0.0.1:7/replicas"


@contextmanager
def serving(folder: Path, pem: str, *, connections: int) -> Iterator[str]:
    """Serve TLS on loopback for a few connections, each answered with 204; gives the URL."""
    file = folder / "served.pem"
    file.write_text(pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=answer, args=(listening, context, connections))
        thread.start()
        yield f"https://127.0.0.1:{listening.getsockname()[1]}"
        thread.join(timeout=10)


def answer(listening: socket.socket, context: ssl.SSLContext, connections: int) -> None:
    """Answer so many connections; a client that does not trust us ends its own."""
    for _ in range(connections):
        connection, _address = listening.accept()
        with (
            connection,
            suppress(OSError),
            context.wrap_socket(connection, server_side=True) as encrypted,
        ):
            encrypted.recv(65536)
            encrypted.sendall(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")
