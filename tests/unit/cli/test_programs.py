"""Each process gets what it reads of the user's environment, and no secret that it does not need.

Invariants: a client's API key reaches none; the token of a hub is no value of any environment.
"""

from pathlib import Path

import pytest

from services.router_config.settings import RouterConfigSettings
from tools.cli.stack.layout import layout
from tools.cli.stack.programs import programs, supervisor_environment
from tools.cli.stack.record import StackRecord

LAYOUT = layout(root=Path("/r"), var=Path("/v ;x"), models=None, user_id=1)
RECORD = StackRecord(
    stack_id="abc",
    started_at=0.0,
    api_host="127.0.0.1",
    api_port=8080,
    stats_port=1,
    nats_port=2,
    ray_port=3,
    ray_agent_port=4,
    dashboard_port=5,
    metrics_port=6,
)
USER = {
    "PATH": "/bin",
    "SLUICE_API_KEY": "sk-client",
    "OPENAI_API_KEY": "sk-other",
    "HF_TOKEN": "hf-secret",
    "HF_HOME": "/hf",
    "VLLM_LOGGING_LEVEL": "DEBUG",
    "SLUICE_AUTOSCALER_LOG_LEVEL": 'a "b" ;c #d %e\nf',
    "SLUICE_ROUTER_CONFIG_THREADS": "2",
    "OTEL_EXPORTER_OTLP_HEADERS": "key=secret",
}


def environments() -> dict[str, dict[str, str]]:
    """Return every process's environment by its name."""
    found = programs(LAYOUT, RECORD, nats_server="/nats", environment=USER, cuda=False)
    supervisord = supervisor_environment(LAYOUT, RECORD, USER)
    return {each.name: dict(each.environment) for each in found} | {"supervisord": supervisord}


def having(name: str) -> set[str]:
    """Return the processes that get a variable."""
    return {part for part, environment in environments().items() if name in environment}


def test_no_process_has_a_secret_that_it_does_not_use() -> None:
    """Clients' keys are for clients; a hub's token is told by the path of its file."""
    values = {value for environment in environments().values() for value in environment.values()}

    assert values.isdisjoint({"sk-client", "sk-other", "hf-secret"})
    assert having("HF_TOKEN_PATH") == {"ray"}
    assert having("OTEL_EXPORTER_OTLP_HEADERS") == {"ray", "router-config", "autoscaler"}


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("HF_HOME", {"ray"}),
        ("VLLM_LOGGING_LEVEL", {"ray"}),
        ("SLUICE_AUTOSCALER_LOG_LEVEL", {"autoscaler"}),
        ("SLUICE_ROUTER_CONFIG_THREADS", {"router-config", "body-reader"}),
    ],
)
def test_a_setting_reaches_those_that_read_it(name: str, parts: set[str]) -> None:
    """Whole, whatever characters it has."""
    assert having(name) == parts
    assert all(environments()[part][name] == USER[name] for part in parts)


def test_every_process_has_the_stacks_marks() -> None:
    """Without them `down` finds nothing."""
    every = environments().keys()

    assert having("SLUICE_STACK_ID") == having("SLUICE_STACK_FOLDER") == every


def test_haproxy_gets_the_marks_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is started by router-config, whose settings say so."""
    for name, value in environments()["router-config"].items():
        monkeypatch.setenv(name, value)

    found = RouterConfigSettings().haproxy_environment

    assert found == {"SLUICE_STACK_ID": "abc", "SLUICE_STACK_FOLDER": "/v ;x"}
