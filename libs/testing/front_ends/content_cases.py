"""Requests about what goes in: messages, prompts, templates, formats of the answer, and tools."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from libs.testing.front_ends.cases import USER, Body, Case, chat, completion, each

SYSTEM: Final = {"role": "system", "content": "Be brief."}
SCHEMA: Final = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 4}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
FUNCTION: Final = {"name": "weather", "description": "Tells it.", "parameters": SCHEMA}
TOOL: Final = {
    "type": "function",
    "function": FUNCTION,
}
CALL: Final = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"name": "x", "age": 1}'},
}
PIXEL: Final = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwAD"
    "hgGAWjR9awAAAABJRU5ErkJggg=="
)

MESSAGES: Final[dict[str, Sequence[object]]] = {
    "a system message": [SYSTEM, USER],
    "a developer message": [{"role": "developer", "content": "Be brief."}, USER],
    "a system message alone": [SYSTEM],
    "an unknown role": [{"role": "narrator", "content": "Once"}],
    "an empty role": [{"role": "", "content": "Once"}],
    "a long conversation": [SYSTEM, USER, {"role": "assistant", "content": "Paris."}, USER],
    "two users in a row": [USER, USER],
    "an assistant at the end": [USER, {"role": "assistant", "content": "It is"}],
    "no messages": [],
    "an empty content": [{"role": "user", "content": ""}],
    "a null content": [{"role": "user", "content": None}],
    "no content": [{"role": "user"}],
    "no role": [{"content": "Hello"}],
    "content parts": [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}],
    "two content parts": [
        {"role": "user", "content": [{"type": "text", "text": t} for t in ("Hello", " you")]}
    ],
    "no content parts": [{"role": "user", "content": []}],
    "an empty content part": [{"role": "user", "content": [{"type": "text", "text": ""}]}],
    "content parts of a system message": [
        {"role": "system", "content": [{"type": "text", "text": "Be brief."}]},
        USER,
    ],
    "input_text parts": [{"role": "user", "content": [{"type": "input_text", "text": "Hello"}]}],
    "a part of unknown type": [{"role": "user", "content": [{"type": "smell", "smell": "x"}]}],
    "a part without a type": [{"role": "user", "content": [{"text": "Hello"}]}],
    "strings as parts": [{"role": "user", "content": ["Hello", "you"]}],
    "a refusal part": [
        USER,
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
        USER,
    ],
    "a refusal": [USER, {"role": "assistant", "content": None, "refusal": "No."}, USER],
    "an image": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Look"},
                {"type": "image_url", "image_url": {"url": PIXEL}},
            ],
        }
    ],
    "a name": [{"role": "user", "name": "bob", "content": "Hello"}],
    "an unknown field of a message": [{**USER, "mood": "good"}],
    "a tool call and its result": [
        USER,
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
    ],
    "a tool call with text": [
        USER,
        {"role": "assistant", "content": "Wait.", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
    ],
    "a tool call without content": [
        USER,
        {"role": "assistant", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
    ],
    "a tool call with broken arguments": [
        USER,
        {
            "role": "assistant",
            "tool_calls": [{**CALL, "function": {"name": "weather", "arguments": "{not json"}}],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
    ],
    "empty tool calls": [USER, {"role": "assistant", "content": "Hi", "tool_calls": []}, USER],
    "a tool result in parts": [
        USER,
        {"role": "assistant", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "call_1", "content": [{"type": "text", "text": "rain"}]},
    ],
    "a tool result without an id": [USER, {"role": "tool", "content": "rain"}],
    "a function message": [USER, {"role": "function", "name": "weather", "content": "rain"}],
    "a reasoning of the assistant": [
        USER,
        {"role": "assistant", "content": "Paris", "reasoning": "Thinking"},
        USER,
    ],
    "a reasoning_content of the assistant": [
        USER,
        {"role": "assistant", "content": "Paris", "reasoning_content": "Thinking"},
        USER,
    ],
    "an emoji": [{"role": "user", "content": "🦊👩‍👩‍👧 naïve 日本語 \u202e\u0000x"}],
    "special tokens in the text": [{"role": "user", "content": "<|im_end|>\n<|im_start|>system"}],
    "spaces and newlines": [{"role": "user", "content": "  \n\t Hello \n\n "}],
    "an assistant's message as OpenAI's client keeps it": [
        USER,
        {
            "role": "assistant",
            "content": "Paris.",
            "refusal": None,
            "annotations": [],
            "audio": None,
            "function_call": None,
            "tool_calls": None,
        },
        USER,
    ],
    "the content before the role": [{"content": "Hello", "role": "user"}],
    "the name behind the content": [{"role": "user", "content": "Hello", "name": "bob"}],
    "JSON as text": [{"role": "user", "content": '{"n": 2, "role": "tool", "content": ""}'}],
    "quotation marks": [{"role": "user", "content": '"n": 2, \\"echo\\": true'}],
    "a text that begins with a quotation mark": [{"role": "user", "content": '"'}],
    "a text of one space": [{"role": "user", "content": " "}],
    "a number as content": [{"role": "user", "content": 5}],
    "an object as content": [{"role": "user", "content": {"text": "Hello"}}],
    "a string as a message": ["Hello"],
    "a null message": [None],
}

CHAT_OPTIONS: Final[dict[str, Body]] = {
    "max_completion_tokens": {"max_completion_tokens": 4},
    "max_completion_tokens and max_tokens": {"max_completion_tokens": 4, "max_tokens": 9},
    "max_tokens and a smaller max_completion_tokens": {"max_completion_tokens": 9, "max_tokens": 4},
    "no generation prompt": {"add_generation_prompt": False},
    "final message continued": {
        "messages": [USER, {"role": "assistant", "content": "Hello"}],
        "add_generation_prompt": False,
        "continue_final_message": True,
    },
    "final message continued, and a generation prompt": {
        "messages": [USER, {"role": "assistant", "content": "Hello"}],
        "continue_final_message": True,
    },
    "final message of the user continued": {
        "add_generation_prompt": False,
        "continue_final_message": True,
    },
    "echo": {"echo": True},
    "echo of a continued message": {
        "echo": True,
        "messages": [USER, {"role": "assistant", "content": "Hello"}],
        "add_generation_prompt": False,
        "continue_final_message": True,
    },
    "a template of its own": {"chat_template": "{{ messages[0].content }}"},
    "a template that is none": {"chat_template": "{{ broken"},
    "an empty template": {"chat_template": ""},
    "template arguments": {"chat_template_kwargs": {"thinking": True}},
    "a template argument enable_thinking": {"chat_template_kwargs": {"enable_thinking": False}},
    "empty template arguments": {"chat_template_kwargs": {}},
    "template arguments that are none": {"chat_template_kwargs": {"chat_template": "x"}},
    "a generation prompt by argument": {"chat_template_kwargs": {"add_generation_prompt": False}},
    "documents": {"documents": [{"title": "t", "text": "x"}]},
    "documents of another kind": {"documents": [{"title": 1}]},
    "media_io_kwargs": {"media_io_kwargs": {"image": {"a": 1}}},
    "mm_processor_kwargs": {"mm_processor_kwargs": {"a": 1}},
    "reasoning effort": {"reasoning_effort": "low"},
    "reasoning effort none": {"reasoning_effort": "none"},
    "reasoning effort max": {"reasoning_effort": "max"},
    "an unknown reasoning effort": {"reasoning_effort": "huge"},
    "include_reasoning false": {"include_reasoning": False},
    "include_reasoning true": {"include_reasoning": True},
    "parallel_tool_calls": {"parallel_tool_calls": False},
    "service_tier": {"service_tier": "auto"},
    "store": {"store": True},
    "metadata": {"metadata": {"a": "b"}},
    "modalities": {"modalities": ["text"]},
    "prediction": {"prediction": {"type": "content", "content": "Hello"}},
    "audio": {"audio": {"voice": "alloy", "format": "wav"}},
    "web_search_options": {"web_search_options": {}},
    "safety_identifier": {"safety_identifier": "x"},
    "prompt_cache_key": {"prompt_cache_key": "x"},
    "verbosity": {"verbosity": "low"},
    "functions": {"functions": [FUNCTION]},
    "function_call": {"function_call": "none"},
}

TOOLS: Final[dict[str, Body]] = {
    "tools": {"tools": [TOOL]},
    "tools and auto": {"tools": [TOOL], "tool_choice": "auto"},
    "tools and none": {"tools": [TOOL], "tool_choice": "none"},
    "tools and null": {"tools": [TOOL], "tool_choice": None},
    "tools and required": {"tools": [TOOL], "tool_choice": "required", "max_tokens": 60},
    "tools and a named one": {
        "tools": [TOOL],
        "tool_choice": {"type": "function", "function": {"name": "weather"}},
        "max_tokens": 60,
    },
    "tools and an unknown name": {
        "tools": [TOOL],
        "tool_choice": {"type": "function", "function": {"name": "nothing"}},
    },
    "tools and an unknown choice": {"tools": [TOOL], "tool_choice": "maybe"},
    "tools of a wrong type": {"tools": [{"type": "smell"}]},
    "no tools": {"tools": []},
    "null tools": {"tools": None},
    "a choice of tools without tools": {"tool_choice": "auto"},
    "the choice none without tools": {"tool_choice": "none"},
    "the choice required without tools": {"tool_choice": "required"},
    "no tools and auto": {"tools": [], "tool_choice": "auto"},
    "tools with strict": {"tools": [{**TOOL, "function": {**FUNCTION, "strict": True}}]},
    "tools without parameters": {"tools": [{"type": "function", "function": {"name": "x"}}]},
}

FORMATS: Final[dict[str, Body]] = {
    "format text": {"response_format": {"type": "text"}},
    "format null": {"response_format": None},
    "format json_object": {"response_format": {"type": "json_object"}, "max_tokens": 20},
    "format json_schema": {
        "response_format": {"type": "json_schema", "json_schema": {"name": "p", "schema": SCHEMA}},
        "max_tokens": 60,
    },
    "format json_schema, strict": {
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "p", "schema": SCHEMA, "strict": True},
        },
        "max_tokens": 60,
    },
    "format json_schema without a schema": {
        "response_format": {"type": "json_schema", "json_schema": {"name": "p"}}
    },
    "format json_schema without anything": {"response_format": {"type": "json_schema"}},
    "format of an unknown type": {"response_format": {"type": "xml"}},
    "format that is a string": {"response_format": "json_object"},
    "format with a broken schema": {
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "p", "schema": {"type": "smell"}},
        }
    },
    "format structural_tag": {
        "response_format": {
            "type": "structural_tag",
            "structures": [{"begin": "<a>", "schema": SCHEMA, "end": "</a>"}],
            "triggers": ["<a>"],
        },
        "max_tokens": 10,
    },
    "structured json": {"structured_outputs": {"json": SCHEMA}, "max_tokens": 60},
    "structured json as a string": {
        "structured_outputs": {"json": '{"type": "integer"}'},
        "max_tokens": 8,
    },
    "structured regex": {"structured_outputs": {"regex": "[a-c]{3}x"}},
    "structured choice": {"structured_outputs": {"choice": ["Paris", "London", "🦊"]}},
    "structured grammar": {"structured_outputs": {"grammar": 'root ::= "yes" | "no"'}},
    "structured json_object": {"structured_outputs": {"json_object": True}, "max_tokens": 12},
    "structured nothing": {"structured_outputs": {}},
    "structured null": {"structured_outputs": None},
    "structured by two": {"structured_outputs": {"regex": "a", "choice": ["b"]}},
    "structured by a broken regex": {"structured_outputs": {"regex": "(["}},
    "structured by a broken grammar": {"structured_outputs": {"grammar": "root ::= ("}},
    "structured by no choice": {"structured_outputs": {"choice": []}},
    "structured with whitespace": {
        "structured_outputs": {"json": SCHEMA, "disable_any_whitespace": True},
        "max_tokens": 60,
    },
    "structured by an unknown kind": {"structured_outputs": {"smell": "x"}},
    "guided_json of older releases": {"guided_json": SCHEMA, "max_tokens": 6},
    "guided_choice of older releases": {"guided_choice": ["a", "b"], "max_tokens": 6},
}

PROMPTS: Final[dict[str, object]] = {
    "token ids": [300, 301, 302],
    "one token id": [300],
    "token id 0": [0],
    "a token id out of range": [99_999],
    "a negative token id": [-1],
    "a huge token id": [2**40],
    "no token ids": [],
    "two texts": ["Hello there", "A quick"],
    "one text in a list": ["Hello there"],
    "two lists of token ids": [[300, 301], [302]],
    "one list of token ids in a list": [[300, 301]],
    "an empty list of token ids": [[]],
    "texts and token ids": ["Hello", [300]],
    "an empty text": "",
    "an empty text in a list": [""],
    "null": None,
    "a number": 5,
    "a number with a fraction": [1.5],
    "true": True,
    "an object": {"text": "Hello"},
    "an emoji": "🦊 naïve 日本語",
    "special tokens": "<|im_start|>user\nHello<|im_end|>",
    "a null character": "a\u0000b",
    "whitespace": "  \n ",
    "a long text": "Hello there " * 100,
    "a text that is too long": "Hello there " * 600,
    "too many token ids": [300] * 513,
    "as many token ids as fit": [300] * 511,
    "token ids that leave no room": [300] * 512,
}


def content_cases() -> Iterator[Case]:
    """Return all of them."""
    for name, messages in MESSAGES.items():
        yield from chat(name, messages=messages, return_token_ids=True)
    for name, fields in {**CHAT_OPTIONS, **TOOLS}.items():
        yield from chat(name, **fields)
    for name, fields in FORMATS.items():
        yield from each(name, **fields)
    for name, prompt in PROMPTS.items():
        yield from completion(f"prompt {name}", prompt=prompt)
    yield from chat("too long", messages=[{"role": "user", "content": "Hello there " * 600}])
    yield from completion("without a prompt, by embeddings", prompt=None, prompt_embeds="AAAA")
    yield from completion("two texts and echo", prompt=["Hello", "A"], echo=True)
