"""Which faults happen in which order.

Invariants: one seed gives one order; every fault of a run comes once before any comes again; faults
happen at once only where each is done to a process of its own.
"""

from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.errors import UsageError
from tools.bench.chaos.faults import Fault, Kill, Stop, Target, catalogue, fault_named, slug
from tools.bench.chaos.plan import FIXED_SEEDS, ChaosPlan, chosen, fixed_faults, steps


def first_faults(plan: ChaosPlan, number: int) -> list[Fault]:
    """Return the faults of a run's beginning, one by one."""
    found = [fault for step in islice(steps(plan), number) for fault in step.faults]
    return found[:number]


@given(seed=st.integers(0, 10_000))
def test_a_seed_gives_the_same_steps_again(seed: int) -> None:
    """Faults, pauses and choices are all drawn from it."""
    plan = ChaosPlan(seconds=60, seed=seed)

    assert list(islice(steps(plan), 40)) == list(islice(steps(plan), 40))


def test_another_seed_gives_another_order() -> None:
    """Else one run would be like the other."""
    one, other = (ChaosPlan(seconds=60, seed=seed) for seed in (1, 2))

    assert first_faults(one, 20) != first_faults(other, 20)


@given(seed=st.integers(0, 10_000))
def test_no_step_does_two_things_to_one_kind_of_process(seed: int) -> None:
    """What is killed cannot be stopped at the same time."""
    for step in islice(steps(ChaosPlan(seconds=60, seed=seed)), 60):
        targets = [
            each.action.target for each in step.faults if isinstance(each.action, Kill | Stop)
        ]
        assert len(set(targets)) == len(targets)
        assert len(step.faults) == 1 or len(targets) == 2


def test_two_parts_fail_at_once_now_and_then() -> None:
    """In every run that is long enough."""
    sizes = {len(step.faults) for step in islice(steps(ChaosPlan(seconds=60)), 60)}

    assert sizes == {1, 2}


def test_two_faults_may_take_as_long_as_both() -> None:
    """One may have to be mended before the other can be."""
    pair = next(step for step in steps(ChaosPlan(seconds=60)) if len(step.faults) == 2)

    assert pair.bound_s == sum(each.bound_s for each in pair.faults)


def test_every_process_is_killed_and_stopped() -> None:
    """No kind of process is left out, and every fault has a name of its own."""
    killed = {each.action.target for each in catalogue() if isinstance(each.action, Kill)}
    stopped = {each.action.target for each in catalogue() if isinstance(each.action, Stop)}
    names = [each.name for each in catalogue()]

    assert killed == stopped == set(Target)
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (Target.SERVE_CONTROLLER, "ray-serve-controller"),
        (Target.ENGINE_CORE, "engine-core"),
        (Target.ROUTER_CONFIG, "router-config"),
    ],
)
def test_a_faults_name_says_what_it_hurts(target: Target, words: str) -> None:
    """It is what a person writes after `--only`."""
    assert slug(target) == words
    assert fault_named(f"kill-{words}") is not None


def test_a_short_run_leaves_out_what_takes_minutes() -> None:
    """A long one does everything."""
    assert all(not each.is_slow for each in chosen(None, minutes=4))
    assert chosen(None, minutes=60) == catalogue()


def test_faults_are_chosen_by_name() -> None:
    """Slow ones too, however short the run."""
    found = chosen("kill-raylet,scale", minutes=1)

    assert [each.name for each in found] == ["kill-raylet", "scale"]


def test_an_unknown_fault_is_named_and_the_known_are_listed() -> None:
    """A person sees the typing error and the right word."""
    with pytest.raises(UsageError, match=r"no fault is named 'kill-nuts'; there is: kill-nats"):
        chosen("kill-nats,kill-nuts", minutes=1)


@pytest.mark.parametrize(("seconds", "replicas"), [(0.0, 2), (-1.0, 2), (60.0, 1)])
def test_a_run_that_makes_no_sense_is_refused(seconds: float, replicas: int) -> None:
    """With one replica its death would be everybody's."""
    with pytest.raises(UsageError):
        ChaosPlan(seconds=seconds, replicas=replicas)


WANTED = {
    *("kill-nats", "kill-router-config", "kill-gcs", "kill-haproxy", "kill-ray-serve-controller"),
    *("kill-supervisord", "kill-engine-worker", "kill-body-reader", "kill-ray-dashboard"),
    *("lose-store", "damage-store", "replace-certificate", "apply", "revoke", "stop-haproxy"),
}


def test_the_fixed_seeds_do_most_kinds_of_fault_in_their_first_steps() -> None:
    """After a change of the catalogue other seeds may have to be found."""
    plans = [ChaosPlan(seconds=60, seed=seed, faults=fixed_faults()) for seed in FIXED_SEEDS]
    done = {
        fault.name for plan in plans for step in islice(steps(plan), 9) for fault in step.faults
    }

    assert WANTED - done == set()
