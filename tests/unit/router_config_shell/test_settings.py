"""Settings: what is needed, what is bounded, and what they become."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from services.router_config.settings import RouterConfigSettings
from services.router_config.wiring import connections_within, edge_config

NEEDED = {
    "STATE_DIR": "/var/lib/s",
    "RUN_DIR": "/run/s",
    "NATS_CREDENTIALS_FILE": "/run/s/nats.json",
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Set what has no default."""
    for name, value in NEEDED.items():
        monkeypatch.setenv(f"SLUICE_ROUTER_CONFIG_{name}", value)
    return monkeypatch


def test_three_settings_have_no_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody should guess where state, sockets and credentials are."""
    with pytest.raises(ValidationError) as problems:
        RouterConfigSettings()

    assert {error["loc"][0] for error in problems.value.errors()} == {
        name.lower() for name in NEEDED
    }


def test_the_rest_has_defaults_for_one_machine(environment: pytest.MonkeyPatch) -> None:
    """Loopback only, everything traced."""
    settings = RouterConfigSettings()

    assert (settings.api_host, settings.trace_ratio) == ("127.0.0.1", 1.0)
    assert settings.admin_socket == Path("/run/s/admin.sock")
    assert edge_config(settings).stats_port is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("EDGE_ID", "Edge One"),
        ("API_PORT", "0"),
        ("API_PORT", "65536"),
        ("TRACE_RATIO", "1.1"),
        ("POOLS_PER_KIND", "0"),
        ("RUN_DIR", "run"),
        ("RUN_DIR", "/" + "x" * 90),
        ("STATE_DIR", 'with"quote'),
    ],
)
def test_what_could_not_work_is_refused(
    environment: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """At the start, not at the first use."""
    environment.setenv(f"SLUICE_ROUTER_CONFIG_{name}", value)

    with pytest.raises(ValidationError):
        RouterConfigSettings()


def test_settings_reach_haproxys_configuration(environment: pytest.MonkeyPatch) -> None:
    """Each that it depends on."""
    for name, value in (("STATS_PORT", "9101"), ("THREADS", "2"), ("PREFIX_BYTES", "512")):
        environment.setenv(f"SLUICE_ROUTER_CONFIG_{name}", value)

    config = edge_config(RouterConfigSettings())

    assert (config.stats_port, config.threads, config.prefix_bytes) == (9101, 2, 512)


@pytest.mark.parametrize(
    ("wanted", "files_max", "expected"),
    [(4000, 1_000_000, 4000), (4000, 1024, 384), (4000, 10, 16), (100, 1024, 100)],
)
def test_connections_stay_within_the_limit_of_open_files(
    wanted: int, files_max: int, expected: int
) -> None:
    """HAProxy refuses to start with more than it could open."""
    assert connections_within(wanted, files_max=files_max, inside=0) == expected
    fewer = connections_within(wanted, files_max=1024, inside=300)
    assert fewer == min(wanted, 84)
