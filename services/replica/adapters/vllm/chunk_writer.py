"""Writes the chunks between a stream's first text and its end, in a fiftieth of vLLM's time.

vLLM makes three pydantic objects for every token and serialises them, although two chunks of one
plain stream differ in their text alone. Here vLLM's own generator writes a stream's first chunks
and all that ends it: the finish reason, the usage, errors, `[DONE]`. Its first chunk with text is
the form for those between, so whatever a release of vLLM writes, they look like it; where that
chunk is not as expected, and for every request that asks for more than text, vLLM writes them all.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from copy import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

import msgspec

if TYPE_CHECKING:
    from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
    from vllm.entrypoints.openai.chat_completion.serving import OpenAIServingChat
    from vllm.entrypoints.openai.completion.protocol import CompletionRequest
    from vllm.entrypoints.openai.completion.serving import OpenAIServingCompletion
    from vllm.outputs import RequestOutput

# A chat's results are `RequestOutput`s, a completion's are pairs of a prompt's number and one.
Result: TypeAlias = Any
Chunks: TypeAlias = AsyncGenerator[str | bytes, None]

_encode: Final = msgspec.json.Encoder().encode


def install(state: Any) -> None:  # noqa: ANN401 - Starlette's `State` takes any attribute
    """Have the handlers of vLLM's application write plain streams through this module.

    An application without one of the handlers (an embedding model's) is left as it is.
    """
    if (chat := getattr(state, "openai_serving_chat", None)) is not None:
        chat.chat_completion_stream_generator = ChatStreams(chat)
    if (completion := getattr(state, "openai_serving_completion", None)) is not None:
        completion.completion_stream_generator = CompletionStreams(completion)


class ChatStreams:
    """Stands in for `OpenAIServingChat.chat_completion_stream_generator`, with its arguments."""

    def __init__(self, handler: OpenAIServingChat) -> None:
        """Keep what vLLM does itself."""
        self._handler = handler
        self._vllms_own: Callable[..., Chunks] = handler.chat_completion_stream_generator

    def __call__(
        self,
        request: ChatCompletionRequest,
        result_generator: AsyncIterator[Result],
        *args: Any,  # noqa: ANN401 - passed on as they come
        **kwargs: Any,  # noqa: ANN401
    ) -> Chunks:
        """Return the stream's chunks."""

        def vllms_own(results: AsyncIterator[Result]) -> Chunks:
            return self._vllms_own(request, results, *args, **kwargs)

        if self._is_plain(request):
            return written(vllms_own, result_generator, CHAT)
        return vllms_own(result_generator)

    def _is_plain(self, request: ChatCompletionRequest) -> bool:
        return (
            self._handler.parser_cls is None
            and not self._handler.enable_log_outputs
            and not request.logprobs
            and _is_plain(request, self._handler)
        )


class CompletionStreams:
    """Stands in for `OpenAIServingCompletion.completion_stream_generator`, with its arguments."""

    def __init__(self, handler: OpenAIServingCompletion) -> None:
        """Keep what vLLM does itself."""
        self._handler = handler
        self._vllms_own: Callable[..., Chunks] = handler.completion_stream_generator

    def __call__(
        self,
        request: CompletionRequest,
        engine_inputs: list[Any],
        result_generator: AsyncIterator[Result],
        *args: Any,  # noqa: ANN401 - passed on as they come
        **kwargs: Any,  # noqa: ANN401
    ) -> Chunks:
        """Return the stream's chunks."""

        def vllms_own(results: AsyncIterator[Result]) -> Chunks:
            return self._vllms_own(request, engine_inputs, results, *args, **kwargs)

        if (
            len(engine_inputs) == 1
            and request.logprobs is None
            and _is_plain(request, self._handler)
        ):
            return written(vllms_own, result_generator, COMPLETION)
        return vllms_own(result_generator)


class _Serving(Protocol):
    enable_force_include_usage: bool


def _is_plain(request: ChatCompletionRequest | CompletionRequest, handler: _Serving) -> bool:
    """Whether two chunks of the answer differ in their text alone, but for the first and last."""
    options = request.stream_options
    return (
        request.n in {None, 1}
        and not request.echo
        and not request.return_token_ids
        and not request.use_beam_search
        and not handler.enable_force_include_usage
        and not (options and options.continuous_usage_stats)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What is different about the streams of one endpoint.

    Attributes:
        key: what stands before the text in a chunk.
        output: takes the `RequestOutput` out of a result.
        with_output: puts another one in its place.
    """

    key: str
    output: Callable[[Result], RequestOutput]
    with_output: Callable[[Result, RequestOutput], Result]


CHAT: Final = Kind(
    key='"content":', output=lambda result: result, with_output=lambda _, output: output
)
COMPLETION: Final = Kind(
    key='"text":',
    output=lambda result: result[1],
    with_output=lambda result, output: (result[0], output),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """A chunk without its text."""

    head: bytes
    tail: bytes

    def filled(self, text: str) -> bytes:
        """Return a chunk with this text."""
        return self.head + _encode(text) + self.tail


def form_of(chunk: str, *, key: str, text: str) -> Form | None:
    """Return the form of a chunk that vLLM wrote for this text; None where it is another one."""
    head, found, tail = chunk.partition(key + _encode(text).decode())
    return Form(head=(head + key).encode(), tail=tail.encode()) if found and text else None


class _Tap:
    """The engine's results on their way to vLLM's generator; what was put back comes first."""

    def __init__(self, results: AsyncIterator[Result]) -> None:
        self._results = results
        self._put_back: Result | Exception | None = None
        self.latest: Result | None = None

    def put_back(self, result: Result | Exception) -> None:
        """Give this to vLLM's generator next; it meets an exception as if it came by itself."""
        self._put_back = result

    def __aiter__(self) -> AsyncIterator[Result]:
        return self

    async def __anext__(self) -> Result:
        given, self._put_back = self._put_back, None
        if isinstance(given, Exception):
            raise given
        self.latest = await anext(self._results) if given is None else given
        return self.latest


async def written(
    vllms_own: Callable[[AsyncIterator[Result]], Chunks], results: AsyncIterator[Result], kind: Kind
) -> Chunks:
    """Yield a stream's chunks: vLLM's own, and between its first text and its end ours.

    vLLM counts the answer's tokens by what it is given, so the last result carries them all.
    """
    tap = _Tap(results)
    theirs = vllms_own(tap)
    form: Form | None = None
    try:
        async for chunk in theirs:
            yield chunk
            if form is not None or (form := _form(chunk, tap.latest, kind)) is None:
                continue
            tokens: list[int] = []
            try:
                async for result in results:
                    output = kind.output(result)
                    if output.finished:
                        tap.put_back(kind.with_output(result, _with_tokens(output, tokens)))
                        break
                    (only,) = output.outputs
                    tokens += only.token_ids
                    yield form.filled(only.text)
            except Exception as exc:  # noqa: BLE001 - vLLM's generator tells the client of it
                tap.put_back(exc)
    finally:
        await theirs.aclose()


def _form(chunk: str | bytes, result: Result | None, kind: Kind) -> Form | None:
    """Return the form of a chunk, if it is the one for the result that vLLM was given last."""
    if result is None or not isinstance(chunk, str):
        return None
    output = kind.output(result)
    if output.finished:
        return None
    return form_of(chunk, key=kind.key, text=output.outputs[0].text)


def _with_tokens(output: RequestOutput, before: Iterable[int]) -> RequestOutput:
    """Return a copy of a result with these tokens before its own."""
    last = copy(output)
    (only,) = output.outputs
    last.outputs = [replace(only, token_ids=[*before, *only.token_ids])]
    return last
