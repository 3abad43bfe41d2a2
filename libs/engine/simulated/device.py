"""What a simulated device does in a step: which tokens are due, which they are, how long it takes.

A sequence has a context: its prompt and the tokens made so far. A step computes some of it, from
`computed_tokens` on. Once the whole context is computed, one token is due: the next one.

    due      = computed + scheduled >= prompt + output
    duration = (step_time_s + prefill_tokens * prefill_time_per_token_s) * (1 + jitter)
    token    = words[hash(seed, adapter, prompt, position) mod len(words)]

Invariants: a token depends on seed, adapter, prompt and position alone, never on the batch, on
chunks of a prefill or on the cache; every token of an output is due exactly once, however the
scheduler cuts the work; a token that the cache holds is not scheduled, so it takes no time; the
jitter depends on seed and step number alone and averages to zero.

Nothing here sleeps, reads a clock or knows vLLM. Integers are mixed with SplitMix64.

Source: Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from libs.contracts.model_spec import SimulationSpec

_MASK: Final = 2**64 - 1
_GOLDEN: Final = 0x9E3779B97F4A7C15
_HALF: Final = 2.0**63


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What one step does for one sequence.

    Attributes:
        prompt_tokens: length of the prompt.
        output_tokens: tokens made before this step.
        computed_tokens: tokens of the context whose keys and values exist before this step.
        scheduled_tokens: tokens of the context that this step computes.
    """

    sequence: str
    prompt_tokens: int
    output_tokens: int
    computed_tokens: int
    scheduled_tokens: int

    @property
    def is_token_due(self) -> bool:
        """Whether the step computes the end of the context, and so gives the next token."""
        context_tokens = self.prompt_tokens + self.output_tokens
        return self.computed_tokens + self.scheduled_tokens >= context_tokens

    @property
    def prefill_tokens(self) -> int:
        """Tokens that take prefill time: all but the single newest one of a decode step.

        After a preemption the output so far is computed again, as a prefill.
        """
        newest = self.prompt_tokens + self.output_tokens - 1
        is_decode = self.output_tokens > 0 and self.computed_tokens >= newest
        return 0 if is_decode else self.scheduled_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """What a step gives: for each share the token due, or None, and the time that it takes."""

    tokens: tuple[int | None, ...]
    duration_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceTotals:
    """What the device has done since it started; `busy_s` is simulated time."""

    steps: int = 0
    prefill_tokens: int = 0
    output_tokens: int = 0
    busy_s: float = 0.0


class SimulatedDevice:
    """Knows the running sequences' prompts, and answers one step after the other."""

    def __init__(self, spec: SimulationSpec, *, words: Sequence[int]) -> None:
        """Take the settings and the tokens that texts are made of."""
        self._spec = spec
        self._words = words
        self._keys: dict[str, int] = {}
        self._totals = DeviceTotals()

    @property
    def totals(self) -> DeviceTotals:
        """What the device has done so far."""
        return self._totals

    def begin(self, sequence: str, *, prompt: Sequence[int], adapter: str = "") -> None:
        """Take a sequence in; again for the same sequence changes nothing.

        `adapter` says which weights it runs with; empty is the model itself.
        """
        self._keys[sequence] = text_key(self._spec.seed, prompt, adapter=adapter)

    def forget(self, sequences: Iterable[str]) -> None:
        """Drop sequences that are finished; unknown ones are ignored."""
        for sequence in sequences:
            self._keys.pop(sequence, None)

    def run(self, shares: Sequence[Share]) -> StepResult:
        """Do one step.

        Raises:
            KeyError: a share is of a sequence that was not taken in.
        """
        tokens = tuple(self._token(share) if share.is_token_due else None for share in shares)
        prefill_tokens = sum(share.prefill_tokens for share in shares)
        duration_s = step_duration_s(
            self._spec, prefill_tokens=prefill_tokens, step=self._totals.steps
        )
        self._totals = DeviceTotals(
            steps=self._totals.steps + 1,
            prefill_tokens=self._totals.prefill_tokens + prefill_tokens,
            output_tokens=self._totals.output_tokens + len(tokens) - tokens.count(None),
            busy_s=self._totals.busy_s + duration_s,
        )
        return StepResult(tokens=tokens, duration_s=duration_s)

    def _token(self, share: Share) -> int:
        draw = _mixed(self._keys[share.sequence] + share.output_tokens * _GOLDEN)
        return self._words[draw % len(self._words)]


def step_duration_s(spec: SimulationSpec, *, prefill_tokens: int, step: int) -> float:
    """Return how long a step takes, in seconds; `step` counts from 0."""
    nominal_s = spec.step_time_s + prefill_tokens * spec.prefill_time_per_token_s
    if not spec.jitter_ratio:
        return nominal_s
    draw = _mixed(_mixed(spec.seed & _MASK) + step * _GOLDEN)
    return nominal_s * (1.0 + spec.jitter_ratio * (draw / _HALF - 1.0))


def text_key(seed: int, prompt: Sequence[int], *, adapter: str = "") -> int:
    """Return the 64-bit number that decides the text which follows a prompt."""
    salt = hashlib.blake2b(adapter.encode(), digest_size=16).digest() if adapter else b""
    digest = hashlib.blake2b(array("q", prompt).tobytes(), digest_size=8, salt=salt).digest()
    return _mixed(int.from_bytes(digest, "little") ^ _mixed(seed & _MASK))


def _mixed(number: int) -> int:
    """Spread a number over 64 bits."""
    mixed = (number + _GOLDEN) & _MASK
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
    return mixed ^ (mixed >> 31)
