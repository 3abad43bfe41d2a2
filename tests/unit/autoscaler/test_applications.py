"""The plan from models to Serve applications.

Invariants: applying a plan and planning again gives nothing; order does not matter; a model that
cannot be read keeps its application; bounds and routing never restart a replica.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from libs.contracts.ids import ModelName
from libs.contracts.model_spec import ModelSpec, RoutingPolicy, RoutingSpec, ScalingSpec
from libs.testing.records import a_model
from services.autoscaler.domain.applications import (
    DELETING,
    Action,
    Application,
    DeployApplications,
    ObservedApplication,
    ScaleApplication,
    plan,
    serving_part,
)

PATH = "pkg.mod:build"
NAMES = ("a", "b", "c", "d")
SOURCES = ("one", "two")


@st.composite
def desired_sets(draw: st.DrawFn) -> list[Application]:
    """Draw applications with different names."""
    names = draw(st.lists(st.sampled_from(NAMES), unique=True))
    return [
        Application(
            name=ModelName(name),
            import_path=PATH,
            spec=spec_of(name, draw(st.sampled_from(SOURCES))),
            target=draw(st.integers(0, 3)),
        )
        for name in names
    ]


@st.composite
def observed_sets(draw: st.DrawFn) -> list[ObservedApplication]:
    """Draw what Serve may show, the odd cases included."""
    names = draw(st.lists(st.sampled_from(NAMES), unique=True))
    return [
        ObservedApplication(
            name=name,
            import_path=draw(st.sampled_from([PATH, "pkg.old:build", None])),
            spec=draw(st.sampled_from([spec_of(name, source) for source in SOURCES] + [None])),
            scaled_from_outside=draw(st.booleans()),
            target=draw(st.none() | st.integers(0, 3)),
            status=draw(st.sampled_from(["RUNNING", "DEPLOYING", DELETING])),
        )
        for name in names
    ]


@given(desired=desired_sets(), observed=observed_sets())
def test_planning_on_the_applied_plan_gives_nothing(
    desired: list[Application], observed: list[ObservedApplication]
) -> None:
    """The loop comes to rest: after at most two rounds there is nothing left to do."""
    once = applied(observed, plan(desired, observed))

    twice = applied(once, plan(desired, once))

    assert plan(desired, twice) == []


@given(desired=desired_sets(), observed=observed_sets())
def test_the_applied_plan_is_what_was_desired(
    desired: list[Application], observed: list[ObservedApplication]
) -> None:
    """Every model with a target runs with it, and nothing else runs.

    Where Serve does not say yet how many replicas there are to be, nothing is scaled.
    """
    once = applied(observed, plan(desired, observed))
    twice = applied(once, plan(desired, once))

    there = {app.name: app.target for app in twice if app.status != DELETING and app.target != 0}
    unsaid = {name for name, target in there.items() if target is None}

    wanted = {app.name: app.target for app in desired if app.target or app.name in unsaid}
    assert there == {name: None if name in unsaid else count for name, count in wanted.items()}


@given(desired=desired_sets(), observed=observed_sets(), data=st.data())
def test_order_does_not_matter(
    desired: list[Application], observed: list[ObservedApplication], data: st.DataObject
) -> None:
    """Models come from a map, applications from JSON: neither has an order."""
    shuffled = plan(data.draw(st.permutations(desired)), data.draw(st.permutations(observed)))

    assert shuffled == plan(desired, observed)


@given(desired=desired_sets(), observed=observed_sets(), data=st.data())
def test_a_model_that_cannot_be_read_keeps_its_application(
    desired: list[Application], observed: list[ObservedApplication], data: st.DataObject
) -> None:
    """A bad write to the bucket must not take healthy replicas away."""
    wanted = {app.name for app in desired}
    unreadable = frozenset(name for name in data.draw(st.sets(st.sampled_from(NAMES))))
    serving = {
        app.name for app in observed if app.name in unreadable - wanted and (app.target or 0) > 0
    }

    after = applied(observed, plan(desired, observed, unreadable=unreadable))

    assert serving <= {app.name for app in after}


def test_a_new_model_is_deployed_with_its_number() -> None:
    """No scale call is needed after it."""
    actions = plan([application("a", 2)], [])

    assert actions == [
        DeployApplications(applications=(application("a", 2),), changed=("a",)),
    ]


def test_a_changed_number_alone_is_a_scale_call() -> None:
    """The configuration stays as it is, so nothing is built again."""
    assert plan([application("a", 2)], [observed_as(application("a", 1))]) == [
        ScaleApplication(name=ModelName("a"), target=2)
    ]


def test_a_target_of_zero_is_a_scale_call_too() -> None:
    """Serve's configuration could not say it."""
    assert plan([application("a", 0)], [observed_as(application("a", 1))]) == [
        ScaleApplication(name=ModelName("a"), target=0)
    ]


def test_a_model_without_replicas_needs_no_application() -> None:
    """It gets one when its target rises."""
    assert plan([application("a", 0)], []) == []


def test_deploying_one_model_names_the_present_number_of_the_others() -> None:
    """A configuration sets every number, so that of a scaled model must be in it."""
    a, b = application("a", 3), application("b", 1)

    (action,) = plan([a, b], [observed_as(a)])

    assert action == DeployApplications(applications=(a, b), changed=("b",))


def test_an_application_that_is_built_is_left_alone() -> None:
    """It has no deployment to scale yet, and its number is in its configuration."""
    building = replace(observed_as(application("a", 1)), target=None, status="DEPLOYING")

    assert plan([application("a", 1)], [building]) == []


def test_changing_bounds_or_routing_restarts_no_replica() -> None:
    """What replicas are started with does not contain them."""
    before = a_model("a", replicas_min=1, replicas_max=2)
    after = replace(
        before,
        scaling=ScalingSpec(min=2, max=9, ttft_slo_s=1.0),
        routing=RoutingSpec(policy=RoutingPolicy.PREFIX),
    )

    assert serving_part(before) == serving_part(after)


def test_changing_the_source_deploys_anew() -> None:
    """Replicas must be started with the new one."""
    before = observed_as(application("a", 1, source="one"))

    (action,) = plan([application("a", 1, source="two")], [before])

    assert isinstance(action, DeployApplications)
    assert action.changed == ("a",)


def spec_of(name: str, source: str = "one") -> ModelSpec:
    """Return what an application is started with."""
    return serving_part(replace(a_model(name), source=source))


def application(name: str, target: int, *, source: str = "one") -> Application:
    """Return a desired application."""
    return Application(
        name=ModelName(name), import_path=PATH, spec=spec_of(name, source), target=target
    )


def observed_as(app: Application) -> ObservedApplication:
    """Return what Serve shows of an application that runs as desired."""
    return ObservedApplication(
        name=app.name,
        import_path=app.import_path,
        spec=app.spec,
        scaled_from_outside=True,
        target=app.target,
        status="RUNNING",
    )


def applied(
    observed: Sequence[ObservedApplication], actions: Sequence[Action]
) -> list[ObservedApplication]:
    """Do to a state what Serve would do."""
    state = {app.name: app for app in observed}
    for action in actions:
        match action:
            case DeployApplications(applications=applications):
                state = {app.name: observed_as(app) for app in applications}
            case ScaleApplication(name=name, target=target):
                state[name] = replace(state[name], target=target)
    return list(state.values())
