"""The simulated device's invariants, each with a property.

- A token depends on seed, prompt and position alone.
- Every token of an output is due exactly once, however the scheduler cuts the work.
- A token that the cache holds takes no time; every other prompt token is counted once.
- A step's time stays within its jitter, and the same seed gives the same times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.contracts.model_spec import SimulationSpec
from libs.engine.simulated.device import Share, SimulatedDevice, step_duration_s, text_key

WORDS = tuple(range(1000, 2000))
PROMPTS = st.lists(st.integers(min_value=0, max_value=200_000), min_size=1, max_size=60)
SEEDS = st.integers(min_value=-(2**40), max_value=2**40)
CUTS = st.lists(st.integers(min_value=1, max_value=40), min_size=1, max_size=30)
RATIOS = st.floats(min_value=0.0, max_value=1.0)
SPEC = SimulationSpec(step_time_s=0.005, prefill_time_per_token_s=0.001)


@dataclass(slots=True)
class Generated:
    """What came out for one sequence."""

    tokens: list[int]
    steps: int


def generate(
    device: SimulatedDevice,
    prompt: Sequence[int],
    *,
    length: int,
    cuts: Sequence[int] = (10**6,),
    cached: int = 0,
) -> Generated:
    """Make a text as a scheduler would that prefills in chunks of the given sizes, in turn."""
    device.begin("s", prompt=prompt)
    made = Generated(tokens=[], steps=0)
    computed = cached
    while len(made.tokens) < length:
        missing = len(prompt) + len(made.tokens) - computed
        scheduled = min(cuts[made.steps % len(cuts)], missing)
        share = Share(
            sequence="s",
            prompt_tokens=len(prompt),
            output_tokens=len(made.tokens),
            computed_tokens=computed,
            scheduled_tokens=scheduled,
        )
        (token,) = device.run([share]).tokens
        made.tokens += [] if token is None else [token]
        made.steps += 1
        computed += scheduled
    device.forget(["s"])
    return made


def at(position: int, *, sequence: str, prompt: Sequence[int]) -> Share:
    """Return a sequence's share in the step that gives the token at a position of its text."""
    context = len(prompt) + position
    return Share(
        sequence=sequence,
        prompt_tokens=len(prompt),
        output_tokens=position,
        computed_tokens=context - 1,
        scheduled_tokens=1,
    )


def a_device(seed: int = 0) -> SimulatedDevice:
    """Return a new device."""
    return SimulatedDevice(SimulationSpec(seed=seed), words=WORDS)


@given(seed=SEEDS, prompt=PROMPTS, cuts=CUTS)
def test_chunks_of_a_prefill_change_nothing_about_the_text(
    seed: int, prompt: list[int], cuts: list[int]
) -> None:
    """The scheduler may cut a prompt as it likes."""
    whole = generate(a_device(seed), prompt, length=8)

    cut = generate(a_device(seed), prompt, length=8, cuts=cuts)

    assert cut.tokens == whole.tokens


@given(seed=SEEDS, prompts=st.lists(PROMPTS, min_size=1, max_size=5))
def test_neighbours_in_the_batch_change_nothing_about_the_text(
    seed: int, prompts: list[list[int]]
) -> None:
    """Each sequence is told apart from those beside it."""
    alone = [generate(a_device(seed), prompt, length=6).tokens for prompt in prompts]
    device = a_device(seed)
    for number, prompt in enumerate(prompts):
        device.begin(str(number), prompt=prompt)

    steps = [
        device.run([at(n, sequence=str(i), prompt=each) for i, each in enumerate(prompts)]).tokens
        for n in range(6)
    ]

    assert [list(text) for text in zip(*steps, strict=True)] == alone


@given(prompt=PROMPTS, cuts=CUTS)
def test_a_text_takes_one_step_a_token_once_its_prompt_is_computed(
    prompt: list[int], cuts: list[int]
) -> None:
    """No token comes early, none comes twice, none is left out."""
    chunks, computed = 0, 0
    while computed < len(prompt):
        computed += cuts[chunks % len(cuts)]
        chunks += 1

    made = generate(a_device(), prompt, length=20, cuts=cuts)

    assert made.steps == chunks + 19


@given(prompt=PROMPTS, cuts=CUTS, data=st.data())
def test_prefill_counts_each_token_that_the_cache_lacks_once(
    prompt: list[int], cuts: list[int], data: st.DataObject
) -> None:
    """Cached prefixes take no time, and decoding is no prefill."""
    cached = data.draw(st.integers(min_value=0, max_value=len(prompt) - 1))
    device = a_device()

    generate(device, prompt, length=5, cuts=cuts, cached=cached)

    assert device.totals.prefill_tokens == len(prompt) - cached
    assert device.totals.output_tokens == 5


@given(prompt=PROMPTS, output=st.integers(min_value=2, max_value=50))
def test_after_a_preemption_the_output_so_far_is_prefilled_again(
    prompt: list[int], output: int
) -> None:
    """Its keys and values are gone from the cache, so they take the time again."""
    share = Share(
        sequence="s",
        prompt_tokens=len(prompt),
        output_tokens=output,
        computed_tokens=0,
        scheduled_tokens=len(prompt) + output,
    )

    assert share.is_token_due
    assert share.prefill_tokens == len(prompt) + output


@given(seed=SEEDS, prompt=PROMPTS)
def test_tokens_are_words(seed: int, prompt: list[int]) -> None:
    """Nothing outside the chosen words is ever made."""
    made = generate(a_device(seed), prompt, length=30)

    assert set(made.tokens) <= set(WORDS)


@given(seed=SEEDS, prompt=PROMPTS)
def test_another_seed_or_another_prompt_gives_another_key(seed: int, prompt: list[int]) -> None:
    """Texts that should differ do."""
    key = text_key(seed, prompt)

    assert key == text_key(seed, tuple(prompt))
    assert key != text_key(seed + 1, prompt)
    assert key != text_key(seed, [*prompt, 0])


@given(
    seed=SEEDS,
    ratio=RATIOS,
    prefill_tokens=st.integers(min_value=0, max_value=10_000),
    step=st.integers(min_value=0, max_value=10**9),
)
def test_a_steps_time_stays_within_its_jitter(
    seed: int, ratio: float, prefill_tokens: int, step: int
) -> None:
    """Never negative, and the same again for the same seed and step."""
    spec = SimulationSpec(step_time_s=0.01, jitter_ratio=ratio, seed=seed)
    nominal_s = 0.01 + prefill_tokens * spec.prefill_time_per_token_s

    duration_s = step_duration_s(spec, prefill_tokens=prefill_tokens, step=step)

    assert abs(duration_s - nominal_s) <= nominal_s * ratio * (1 + 1e-9)
    assert duration_s == step_duration_s(spec, prefill_tokens=prefill_tokens, step=step)


def test_jitter_averages_to_zero_and_spreads() -> None:
    """A device with jitter is neither faster nor slower than one without."""
    spec = SimulationSpec(step_time_s=0.01, jitter_ratio=0.5, seed=7)

    times_s = [step_duration_s(spec, prefill_tokens=0, step=step) for step in range(10_000)]

    assert sum(times_s) / len(times_s) == pytest.approx(0.01, rel=0.01)
    assert min(times_s) < 0.0052
    assert max(times_s) > 0.0148


def test_the_totals_add_up_simulated_time() -> None:
    """What the device says about itself is what its steps took."""
    device = SimulatedDevice(SPEC, words=WORDS)

    generate(device, range(10), length=4, cuts=[6])

    assert device.totals.steps == 5
    assert device.totals.prefill_tokens == 10
    assert device.totals.busy_s == pytest.approx(5 * 0.005 + 10 * 0.001)


def test_a_sequence_that_was_forgotten_is_not_known() -> None:
    """Finished sequences take no memory."""
    device = a_device()
    generate(device, [1, 2, 3], length=1)
    next_share = at(1, sequence="s", prompt=[1, 2, 3])

    with pytest.raises(KeyError):
        device.run([next_share])


def test_an_adapter_changes_the_text_and_the_model_keeps_its_own() -> None:
    """Every adapter speaks otherwise, and always the same."""
    prompt = [1, 2, 3]

    keys = [text_key(0, prompt, adapter=adapter) for adapter in ("", "/a", "/b", "/a")]

    assert keys[0] == text_key(0, prompt)
    assert len(set(keys)) == 3
    assert keys[1] == keys[3]
