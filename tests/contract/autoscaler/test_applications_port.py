"""What the autoscaler relies on in Ray Serve; run against the fake and against a real Ray."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from libs.contracts.ids import ModelName
from libs.errors import TerminalError, TransientError
from libs.testing.fake_serve import BROKEN
from libs.testing.records import a_model
from services.autoscaler.adapters.ray_serve.client import RayServeClient
from services.autoscaler.domain.applications import (
    DEPLOY_FAILED,
    Application,
    DeployApplications,
    ObservedApplication,
    ScaleApplication,
    plan,
    serving_part,
)

A = ModelName("a")


async def test_a_deployed_application_is_observed_as_it_was_asked_for(
    serve: RayServeClient,
) -> None:
    """Import path, spec, number and the right to scale come back, so that nothing is planned."""
    wanted = application("a", 1)

    await serve.deploy(deployment(wanted))
    found = await settled(serve, "a")

    assert (found.import_path, found.spec) == (wanted.import_path, wanted.spec)
    assert (found.target, found.scaled_from_outside) == (1, True)
    assert plan([wanted], await found_in(serve)) == []


async def test_an_accepted_configuration_is_seen_at_once(serve: RayServeClient) -> None:
    """The next round plans nothing, although the application is not built yet."""
    await serve.deploy(deployment(application("a", 1)))

    assert plan([application("a", 1)], await found_in(serve)) == []


async def test_the_number_of_replicas_follows_scale_calls(serve: RayServeClient) -> None:
    """Up, down to none, and up again."""
    await serve.deploy(deployment(application("a", 1)))
    await settled(serve, "a")

    for target in (2, 0, 1):
        await serve.scale(ScaleApplication(name=A, target=target))
        (found,) = await found_in(serve)

        assert found.target == target


async def test_a_configuration_with_another_number_sets_it(serve: RayServeClient) -> None:
    """Which is why every configuration carries the present target of each application."""
    await serve.deploy(deployment(application("a", 1)))
    await settled(serve, "a")
    await serve.scale(ScaleApplication(name=A, target=3))

    await serve.deploy(deployment(application("a", 2), application("b", 1)))
    await settled(serve, "b")

    assert {app.name: app.target for app in await found_in(serve)} == {"a": 2, "b": 1}


async def test_a_configuration_with_the_same_number_keeps_a_scaled_one(
    serve: RayServeClient,
) -> None:
    """It is no change to Serve, so a target may still have to be set by a scale call after it."""
    await serve.deploy(deployment(application("a", 1)))
    await settled(serve, "a")
    await serve.scale(ScaleApplication(name=A, target=2))

    await serve.deploy(deployment(application("a", 1), application("b", 1)))
    await settled(serve, "b")

    assert {app.name: app.target for app in await found_in(serve)} == {"a": 2, "b": 1}


async def test_what_is_not_in_the_configuration_is_removed(serve: RayServeClient) -> None:
    """The configuration is the whole."""
    await serve.deploy(deployment(application("a", 1)))
    await settled(serve, "a")

    await serve.deploy(deployment())

    await until_removed(serve)


async def test_an_unknown_application_cannot_be_scaled(serve: RayServeClient) -> None:
    """It may come to be: another round may succeed."""
    await serve.deploy(deployment(application("a", 1)))

    with pytest.raises(TransientError):
        await serve.scale(ScaleApplication(name=ModelName("nobody"), target=1))


async def test_a_configuration_cannot_ask_for_no_replicas(serve: RayServeClient) -> None:
    """The reason why the plan leaves such applications out."""
    with pytest.raises(TerminalError, match="num_replicas"):
        await serve.deploy(deployment(application("a", 0)))


async def test_what_serve_has_given_up_is_tried_again_by_a_further_attempt(
    serve: RayServeClient,
) -> None:
    """The other application runs on; a configuration shows both as being deployed at first."""
    broken, other = application("a", 1, source=BROKEN), application("b", 1)
    await serve.deploy(deployment(broken, other))
    await settled(serve, "b")
    given_up = await settled(serve, "a", DEPLOY_FAILED)

    await serve.deploy(deployment(broken, other))
    same = await settled(serve, "a", DEPLOY_FAILED)
    await serve.deploy(deployment(replace(broken, attempt=1), other))
    again = await seen(serve)

    assert "no such file" in given_up.trouble
    assert "\n" not in given_up.trouble
    assert same.attempt == 0
    assert (again["a"].status, again["a"].attempt) == ("DEPLOYING", 1)
    assert (await settled(serve, "b")).trouble == ""
    assert (await settled(serve, "a", DEPLOY_FAILED)).attempt == 1


async def test_a_given_up_application_leaves_when_no_replica_is_wanted(
    serve: RayServeClient,
) -> None:
    """So that it begins anew when one is wanted again: Serve would not try for a number alone."""
    await serve.deploy(deployment(application("a", 1, source=BROKEN)))
    await settled(serve, "a", DEPLOY_FAILED)

    (action,) = plan([application("a", 0, source=BROKEN)], await found_in(serve))
    assert isinstance(action, DeployApplications)
    await serve.deploy(action)

    await until_removed(serve)


async def test_a_wrong_token_is_refused_for_good(stranger: RayServeClient) -> None:
    """No retry helps."""
    with pytest.raises(TerminalError, match="token"):
        await stranger.observe()


def application(name: str, target: int, *, source: str = "none") -> Application:
    """Return a desired application made by the stand-in."""
    spec = serving_part(replace(a_model(name), source=source))
    return Application(
        name=ModelName(name), import_path="standin_app:build", spec=spec, target=target
    )


def deployment(*applications: Application) -> DeployApplications:
    """Return the whole configuration."""
    return DeployApplications(applications=applications, changed=())


async def until_removed(serve: RayServeClient) -> None:
    """Wait until Serve has no application."""
    async with asyncio.timeout(30):
        while True:
            if not await serve.observe():
                return
            await asyncio.sleep(0.2)


async def found_in(serve: RayServeClient) -> tuple[ObservedApplication, ...]:
    """Return the applications of a Serve that runs."""
    found = await serve.observe()
    assert found is not None
    return found


async def seen(serve: RayServeClient) -> dict[str, ObservedApplication]:
    """Look once."""
    return {app.name: app for app in await found_in(serve)}


async def settled(serve: RayServeClient, name: str, status: str = "RUNNING") -> ObservedApplication:
    """Wait until an application has this status."""
    async with asyncio.timeout(60):
        while True:
            found = await seen(serve)
            if name in found and found[name].status == status:
                return found[name]
            await asyncio.sleep(0.2)
