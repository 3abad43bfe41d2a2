"""Asks a target what it serves before any load is sent to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import httpx
import msgspec

from libs.errors import UsageError
from tools.bench.load.plan import Endpoint, OutputLength

ANSWER_S: Final = 30.0
_CONNECT_S: Final = 3.0
_KNOWS_EXACT_LENGTHS: Final = frozenset({"vllm", "sluice"})
_SHOWN_CHARACTERS: Final = 200


class TargetDownError(UsageError):
    """Nothing serves at the target's URL."""


class UnknownModelError(UsageError):
    """The target does not have the model."""


class _Card(msgspec.Struct):
    id: str
    owned_by: str | None = None
    root: str | None = None


class _Listing(msgspec.Struct):
    data: list[_Card]


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What a target lists under /v1/models.

    Attributes:
        names: models and aliases; empty when the target has no listing.
        distinct: how many different models stand behind the names.
        output_length: EXACT for servers known to be vLLM.
    """

    names: tuple[str, ...]
    distinct: int
    output_length: OutputLength


def list_models(url: str, headers: tuple[tuple[str, str], ...]) -> Served:
    """Read the listing.

    Raises:
        TargetDownError: nothing answers at the URL.
        UsageError: the target refuses to list, for want of an API key for example.
    """
    reply = _ask(url, "GET", "/v1/models", headers, None)
    if reply.status_code in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
        message = f"{url} refuses (HTTP {reply.status_code}); give a key with --header"
        raise UsageError(message)
    try:
        cards = msgspec.json.decode(reply.content, type=_Listing).data if reply.is_success else []
    except msgspec.DecodeError:
        cards = []
    owners = {card.owned_by for card in cards}
    exact = bool(owners) and owners <= _KNOWS_EXACT_LENGTHS
    return Served(
        names=tuple(card.id for card in cards),
        distinct=len({card.root or card.id for card in cards}),
        output_length=OutputLength.EXACT if exact else OutputLength.AT_MOST,
    )


def choose_model(served: Served, asked: str | None) -> str:
    """Return the model to ask: the user's, or the only one that there is.

    Raises:
        UsageError: the user named none, and the target has several or does not say.
    """
    if asked is not None:
        return asked
    if served.distinct == 1:
        return served.names[0]
    raise UsageError(f"name a model with --model; the target lists {_listed(served)}")


def require_model(
    url: str,
    endpoint: Endpoint,
    headers: tuple[tuple[str, str], ...],
    *,
    model: str,
    served: Served,
) -> None:
    """Check that the target has a model; one that it does not list is asked for one token.

    Raises:
        UnknownModelError: the target refuses it.
        TargetDownError: nothing answers at the URL.
    """
    if model in served.names:
        return
    body: dict[str, object] = {"model": model, "max_tokens": 1}
    if endpoint is Endpoint.CHAT:
        body["messages"] = [{"role": "user", "content": "Hello"}]
    else:
        body["prompt"] = "Hello"
    reply = _ask(url, "POST", endpoint.path, headers, body)
    if reply.is_client_error:
        said = reply.text[:_SHOWN_CHARACTERS].replace("\n", " ")
        raise UnknownModelError(
            f"{url} does not serve {model!r} at {endpoint.path} (HTTP {reply.status_code}: {said});"
            f" it lists {_listed(served)}"
        )


def _ask(
    url: str,
    method: str,
    path: str,
    headers: tuple[tuple[str, str], ...],
    body: dict[str, object] | None,
) -> httpx.Response:
    limits = httpx.Timeout(ANSWER_S, connect=_CONNECT_S)
    try:
        with httpx.Client(base_url=url, timeout=limits, trust_env=False) as client:
            return client.request(method, path, headers=list(headers), json=body)
    except (httpx.HTTPError, httpx.InvalidURL) as exc:
        message = f"nothing serves at {url} ({exc}); start it, or give another --url"
        raise TargetDownError(message) from exc


def _listed(served: Served) -> str:
    return ", ".join(served.names) or "nothing"
