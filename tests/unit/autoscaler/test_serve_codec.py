"""Ray Serve's REST bodies; the answer is one that Ray 2.60 gave."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from libs.bus.codec import encode
from libs.contracts.ids import ModelName
from libs.contracts.model_spec import AdapterSpec, EngineSpec
from libs.errors import TerminalError
from libs.testing.records import a_model
from services.autoscaler.adapters.ray_serve.codec import (
    parse_details,
    render_config,
    render_scale,
    scale_path,
)
from services.autoscaler.domain.applications import (
    Application,
    ObservedApplication,
    serving_part,
)

GOLDEN = Path(__file__).parent / "golden" / "serve_details_ray_2_60.json"
ADAPTER = AdapterSpec(name="sql", source="/adapters/sql")
SPEC = replace(
    serving_part(a_model("m")),
    aliases=("default",),
    adapters=(ADAPTER,),
    engine=EngineSpec(max_loras=2),
)
APP = Application(name=ModelName("m"), import_path="pkg.mod:build", spec=SPEC, target=2)


def test_a_configuration_has_one_application_per_model_and_no_proxy() -> None:
    """The whole body, as Serve takes it."""
    tree = json.loads(render_config([APP]))

    assert tree == {
        "proxy_location": "Disabled",
        "http_options": {"host": "127.0.0.1"},
        "applications": [
            {
                "name": "m",
                "route_prefix": None,
                "import_path": "pkg.mod:build",
                "args": {"model_spec": encode(replace(SPEC, aliases=(), adapters=())).decode()},
                "external_scaler_enabled": True,
                "deployments": [
                    {
                        "name": "replica",
                        "num_replicas": 2,
                        "user_config": {
                            "aliases": ["default"],
                            "adapters": [{"name": "sql", "source": "/adapters/sql"}],
                        },
                    }
                ],
            }
        ],
    }


def test_aliases_are_no_part_of_what_a_replica_is_started_with() -> None:
    """Serve restarts replicas for changed arguments, and hands on a changed user configuration."""
    before, after = (
        json.loads(render_config([replace(APP, spec=replace(SPEC, aliases=aliases))]))
        for aliases in (("one",), ("one", "two"))
    )

    (old,), (new,) = before["applications"], after["applications"]
    assert old["args"] == new["args"]
    assert new["deployments"][0]["user_config"]["aliases"] == ["one", "two"]


def test_adapters_are_no_part_of_what_a_replica_is_started_with() -> None:
    """They are loaded and unloaded while it serves."""
    before, after = (
        json.loads(render_config([replace(APP, spec=replace(SPEC, adapters=adapters))]))
        for adapters in ((), (ADAPTER,))
    )

    (old,), (new,) = before["applications"], after["applications"]
    assert old["args"] == new["args"]
    assert old["deployments"][0]["user_config"]["adapters"] == []


def test_a_scale_call_names_the_one_deployment() -> None:
    """Path and body."""
    assert scale_path("m") == "/api/v1/applications/m/deployments/replica/scale"
    assert json.loads(render_scale(0)) == {"target_num_replicas": 0}


def test_a_real_answer_is_parsed() -> None:
    """What Ray 2.60 says about two applications, one of them scaled to none."""
    first, second = parsed(GOLDEN.read_bytes())

    assert (first.name, first.target, first.status) == ("alpha", 2, "RUNNING")
    assert first.scaled_from_outside
    assert first.spec is not None
    assert first.spec.name == "alpha"
    assert (second.name, second.target) == ("beta", 0)


def test_a_cluster_without_serve_has_no_applications() -> None:
    """The answer before Serve was ever started."""
    assert parse_details(b'{"applications": {}, "proxies": {}, "controller_info": {}}') is None


def test_an_application_whose_arguments_are_foreign_has_no_spec() -> None:
    """It will differ from everything desired, and so be replaced."""
    body = {"status": "RUNNING", "deployed_app_config": {"import_path": "x:y", "args": {"q": 1}}}

    (found,) = parsed(
        json.dumps({"controller_info": {"x": 1}, "applications": {"m": body}}).encode()
    )

    assert found.spec is None
    assert found.target is None


def test_a_spec_survives_serve() -> None:
    """What is rendered is read back equal."""
    config = json.loads(render_config([replace(APP)]))["applications"][0]
    body = {"status": "RUNNING", "deployed_app_config": config}

    (found,) = parsed(
        json.dumps({"controller_info": {"x": 1}, "applications": {"m": body}}).encode()
    )

    assert found.spec == SPEC


@pytest.mark.parametrize("body", [b"", b"<html>", b"{}", b'{"applications": 1}'])
def test_an_unknown_answer_is_refused(body: bytes) -> None:
    """A login page is not an empty cluster."""
    with pytest.raises(TerminalError):
        parse_details(body)


def parsed(body: bytes) -> tuple[ObservedApplication, ...]:
    """Parse the answer of a Serve that runs."""
    found = parse_details(body)
    assert found is not None
    return found
