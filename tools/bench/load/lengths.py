"""How long prompts and answers are: a fixed number of tokens, or a distribution to draw from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random
from typing import Final, assert_never

from libs.errors import UsageError

TOKENS_MAX: Final = 1_000_000
_SIGMA_MAX: Final = 5.0
_FORMS: Final = "N, fixed:N, uniform:LOW:HIGH, lognormal:MEAN:SIGMA or exponential:MEAN"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fixed:
    """Always the same."""

    tokens: int

    def __str__(self) -> str:
        """Return what `parse_lengths` reads."""
        return f"{self.tokens}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Uniform:
    """Each whole number from low to high, both included, with the same chance."""

    low: int
    high: int

    def __str__(self) -> str:
        """Return what `parse_lengths` reads."""
        return f"uniform:{self.low}:{self.high}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogNormal:
    """Many short ones and a long tail.

    Attributes:
        mean: of the tokens themselves, not of their logarithm.
        sigma: standard deviation of the logarithm; 1 is about what conversations show.
    """

    mean: float
    sigma: float

    def __str__(self) -> str:
        """Return what `parse_lengths` reads."""
        return f"lognormal:{self.mean}:{self.sigma}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exponential:
    """Memoryless, by its mean."""

    mean: float

    def __str__(self) -> str:
        """Return what `parse_lengths` reads."""
        return f"exponential:{self.mean}"


Lengths = Fixed | Uniform | LogNormal | Exponential


def parse_lengths(text: str) -> Lengths:
    """Read a distribution as a user writes it.

    Raises:
        UsageError: the text is none of the forms, or a number is out of bounds.
    """
    name, *rest = text.split(":")
    try:
        match name, [float(part) for part in rest]:
            case ("fixed", [tokens]):
                return Fixed(tokens=_tokens(tokens))
            case ("uniform", [low, high]) if low <= high:
                return Uniform(low=_tokens(low), high=_tokens(high))
            case ("lognormal", [mean, sigma]) if 0 <= sigma <= _SIGMA_MAX:
                return LogNormal(mean=_bounded(mean), sigma=sigma)
            case ("exponential", [mean]):
                return Exponential(mean=_bounded(mean))
            case (_, []):
                return Fixed(tokens=_tokens(float(name)))
    except ValueError as exc:
        raise UsageError(f"{text!r}: {exc}; write {_FORMS}") from exc
    raise UsageError(f"{text!r} is no length; write {_FORMS}")


def draw(lengths: Lengths, random: Random) -> int:
    """Return the next length, from 1 to TOKENS_MAX."""
    match lengths:
        case Fixed(tokens=tokens):
            return tokens
        case Uniform(low=low, high=high):
            return random.randint(low, high)
        case LogNormal(mean=mean, sigma=sigma):
            # The mean of exp(N(mu, sigma)) is exp(mu + sigma^2 / 2).
            return _clipped(random.lognormvariate(math.log(mean) - sigma * sigma / 2, sigma))
        case Exponential(mean=mean):
            return _clipped(random.expovariate(1 / mean))
        case _:
            assert_never(lengths)


def _clipped(value: float) -> int:
    return max(1, min(TOKENS_MAX, round(value)))


def _tokens(value: float) -> int:
    if not value.is_integer():
        raise ValueError(f"{value:g} is no whole number of tokens")
    return int(_bounded(value))


def _bounded(value: float) -> float:
    if not 1 <= value <= TOKENS_MAX:
        raise ValueError(f"{value:g} tokens is not from 1 to {TOKENS_MAX}")
    return value
