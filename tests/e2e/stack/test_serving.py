"""The real model answers through HAProxy, token by token, at the endpoints of vLLM's own app."""

import json
import time

import httpx
import openai
import pytest

from libs.testing.local_stack import LocalStack

QUESTION = [{"role": "user", "content": "What is the capital of France?"}]


@pytest.fixture
def client(stack: LocalStack) -> openai.OpenAI:
    """Return the official client, pointed at HAProxy."""
    return openai.OpenAI(base_url=f"{stack.api_url}/v1", api_key="none", max_retries=0)


def test_the_official_client_streams_the_right_answer(client: openai.OpenAI) -> None:
    """Greedy decoding in the right data type knows France's capital."""
    stream = client.chat.completions.create(
        model="smollm2",
        messages=[{"role": "user", "content": "What is the capital of France?"}],
        temperature=0,
        max_tokens=32,
        stream=True,
    )

    text = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)

    assert "Paris" in text


def test_an_answer_arrives_token_by_token(stack: LocalStack) -> None:
    """Not all at once at the end; a front end that is held up puts several tokens in one event."""
    body = {
        "model": "default",
        "messages": [{"role": "user", "content": "Count from one to fifty in words."}],
        "temperature": 0,
        "max_tokens": 80,
        "min_tokens": 60,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    started = time.monotonic()
    arrivals: list[float] = []
    tokens = 0

    url = f"{stack.api_url}/v1/chat/completions"
    with httpx.stream("POST", url, json=body, timeout=60) as reply:
        for line in reply.iter_lines():
            if not line.startswith("data: {"):
                continue
            event = json.loads(line.removeprefix("data: "))
            if event["choices"] and event["choices"][0]["delta"].get("content"):
                arrivals.append(time.monotonic() - started)
            tokens = (event.get("usage") or {}).get("completion_tokens", tokens)

    assert tokens >= 60
    assert len(arrivals) > tokens / 2
    assert arrivals[0] < arrivals[-1] / 2


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/completions", {"model": "smollm2", "prompt": "Paris is", "max_tokens": 4}),
        ("/v1/chat/completions", {"model": "default", "messages": QUESTION, "max_tokens": 4}),
        ("/v1/responses", {"model": "smollm2", "input": "Hello", "max_output_tokens": 4}),
        ("/tokenize", {"model": "smollm2", "prompt": "Hello there"}),
        ("/detokenize", {"model": "smollm2", "tokens": [1, 2, 3]}),
    ],
)
def test_the_engines_own_endpoints_answer(
    stack: LocalStack, path: str, body: dict[str, object]
) -> None:
    """What vLLM serves, HAProxy lets through."""
    reply = httpx.post(f"{stack.api_url}{path}", json=body, timeout=60)

    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"].startswith("application/json")


def test_models_are_listed_with_their_aliases(stack: LocalStack) -> None:
    """Clients ask for the list before anything else."""
    listed = httpx.get(f"{stack.api_url}/v1/models", timeout=60).json()

    assert listed["object"] == "list"
    assert {"smollm2", "default"} <= {each["id"] for each in listed["data"]}


def test_embeddings_of_a_generating_model_are_refused_in_openais_shape(stack: LocalStack) -> None:
    """This model cannot embed; the client learns it as it would from OpenAI."""
    body = {"model": "smollm2", "input": "Hello"}

    reply = httpx.post(f"{stack.api_url}/v1/embeddings", json=body, timeout=60)

    assert 400 <= reply.status_code < 500
    assert reply.json()["error"]["message"]


def test_an_unknown_model_is_not_found(client: openai.OpenAI) -> None:
    """HAProxy answers by itself, in OpenAI's shape."""
    with pytest.raises(openai.NotFoundError) as caught:
        client.completions.create(model="gpt-9", prompt="x")

    assert "gpt-9" in caught.value.message or "model" in caught.value.message
    assert isinstance(caught.value.body, dict)
    assert caught.value.body["code"] == "model_not_found"


@pytest.mark.parametrize(
    "content",
    [
        b'{"model": "smollm2", "messages": ',
        b'{"model": "smollm2", "messages": 7}',
        b'{"model": "smollm2", "messages": [], "max_tokens": "many"}',
    ],
)
def test_invalid_json_and_types_are_bad_requests(stack: LocalStack, content: bytes) -> None:
    """The replica knows the schema, so it answers."""
    reply = httpx.post(
        f"{stack.api_url}/v1/chat/completions",
        content=content,
        headers={"content-type": "application/json"},
        timeout=60,
    )

    assert reply.status_code == 400
    assert reply.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/metrics", "/docs", "/v1/load_lora_adapter", "/sleep", "/"])
def test_administrative_paths_do_not_exist(stack: LocalStack, path: str) -> None:
    """Only inference passes."""
    reply = httpx.post(f"{stack.api_url}{path}", json={"model": "smollm2"}, timeout=60)

    assert reply.status_code == 404
    assert reply.json()["error"]["message"]
