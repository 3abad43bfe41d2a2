"""Which model a request's body names, read the way vLLM reads it: pure.

The router reads the model with another JSON parser, which takes the first of two equal keys where
Python takes the last, and does not see escaped keys. A body that the two could read differently
must not reach a model that its sender may not use.
"""

from __future__ import annotations

import json
from enum import Enum, auto
from typing import Final

_MODEL: Final = "model"


class Unclear(Enum):
    """Why a body names no single model."""

    NO_JSON_OBJECT = auto()
    ABSENT = auto()
    TWICE = auto()
    NO_STRING = auto()


def model_in(body: bytes) -> str | Unclear:
    """Return the model that a JSON body names at its top level."""
    return model_of(pairs_in(body))


def model_of(pairs: Pairs | None) -> str | Unclear:
    """Return the model that the members of a body name; None stands for no JSON object."""
    if pairs is None:
        return Unclear.NO_JSON_OBJECT
    found = [value for key, value in pairs if key == _MODEL]
    if len(found) > 1:
        return Unclear.TWICE
    if not found:
        return Unclear.ABSENT
    return found[0] if isinstance(found[0], str) else Unclear.NO_STRING


def contradicts(named: str | Unclear, *, routed: str) -> str | None:
    """Say what the body names when it is not what the router read; None when the two agree.

    A body without a model agrees: then the router read it elsewhere, in a header or in the path.
    A body that is no JSON object agrees too: vLLM refuses it itself, with its own message.
    """
    match named:
        case Unclear.NO_JSON_OBJECT | Unclear.ABSENT:
            return None
        case Unclear.TWICE:
            return "two models"
        case Unclear.NO_STRING:
            return "a model that is no string"
        case str(model):
            return None if model == routed else repr(model)


def with_model(body: bytes, model: str) -> bytes:
    """Name the model in a body that is a JSON object and names none.

    vLLM takes the base model for a request without one, whichever adapter the router read.
    """
    text = body.decode(json.detect_encoding(body), "surrogatepass")
    head, brace, rest = text.partition("{")
    comma = "" if rest.lstrip().startswith("}") else ","
    named = f"{head}{brace}{json.dumps(_MODEL)}:{json.dumps(model)}{comma}{rest}"
    return named.encode("utf-8", "surrogatepass")


class Pairs(tuple[tuple[str, object], ...]):
    """A JSON object with all of its keys, equal ones too."""

    __slots__ = ()


def pairs_in(body: bytes) -> Pairs | None:
    """Read the members of a body; None when it is no JSON object."""
    try:
        tree = json.loads(body, object_pairs_hook=Pairs)
    except (ValueError, RecursionError):
        return None
    return tree if isinstance(tree, Pairs) else None
