"""VLLM's own API, engine, scheduler and KV cache run over a device that only takes time."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from libs.testing.simulated_server import SimulatedServer, Totals
from libs.testing.tiny_model import WORDS, words

STEP_TIME_S = 0.01
PREFILL_TIME_PER_TOKEN_S = 0.0005
CHUNK_TOKENS = 64
BLOCK_TOKENS = 16


def totals(server: SimulatedServer) -> Totals:
    """Return the only worker's totals."""
    (found,) = server.totals()
    return found


def test_the_same_prompt_gives_the_same_text_among_any_neighbours(server: SimulatedServer) -> None:
    """Batching, chunks and the cache do not show in the text."""
    prompt = words(100, first=1)
    alone = server.complete(prompt, max_tokens=20)

    with ThreadPoolExecutor(4) as pool:
        crowd = [words(30 + 11 * number, first=50 + number) for number in range(3)]
        texts = list(pool.map(lambda each: server.complete(each, max_tokens=20), [*crowd, prompt]))

    assert texts[-1] == alone
    assert len({each.text for each in texts}) == 4


def test_a_text_is_as_long_as_asked_and_made_of_words(server: SimulatedServer) -> None:
    """`max_tokens` ends it, nothing else does, and every token is visible."""
    found = server.complete(words(10, first=2), max_tokens=40)

    assert (found.finish_reason, found.output_tokens) == ("length", 40)
    assert set(found.text.split()) <= set(WORDS)
    assert len(found.text.split()) == 40


def test_vllms_stop_conditions_end_a_text(server: SimulatedServer) -> None:
    """The device says a token; whether the text goes on is not its affair."""
    prompt = words(10, first=3)
    whole = server.complete(prompt, max_tokens=20).text.split()
    fifth = 3 + WORDS.index(whole[4])

    stopped = server.complete(prompt, max_tokens=20, stop_token_ids=[fifth])

    assert stopped.finish_reason == "stop"
    assert stopped.text.split() == whole[: whole.index(whole[4])]


def test_a_stream_brings_every_token(server: SimulatedServer) -> None:
    """One token an event, or several where the server was too busy to send them one by one."""
    events = server.stream(words(5, first=4), max_tokens=32)

    texts = [json.loads(event.removeprefix("data: "))["choices"] for event in events]
    spoken = [choice["delta"].get("content") or "" for (choice,) in texts]
    assert len("".join(spoken).split()) == 32
    assert len([text for text in spoken if text]) > 1


def test_thirty_two_tokens_take_thirty_two_steps(server: SimulatedServer) -> None:
    """Time cannot be faster than the device, however busy the machine is."""
    before, started_s = totals(server), time.monotonic()

    server.complete(words(20, first=5), max_tokens=32)

    took_s, done = time.monotonic() - started_s, totals(server).since(before)
    assert (done.steps, done.output_tokens) == (32, 32)
    assert done.busy_s == pytest.approx(32 * STEP_TIME_S + 20 * PREFILL_TIME_PER_TOKEN_S)
    assert took_s >= done.busy_s


def test_a_long_prompt_is_prefilled_in_chunks(server: SimulatedServer) -> None:
    """No token is due before the last chunk, and each prompt token is computed once."""
    before = totals(server)

    server.complete(words(300, first=6), max_tokens=1)

    done = totals(server).since(before)
    assert done.steps == -(-300 // CHUNK_TOKENS)
    assert (done.prefill_tokens, done.output_tokens) == (300, 1)


def test_a_prefix_in_the_cache_takes_no_time(server: SimulatedServer) -> None:
    """Only the tokens after the last whole block that is cached are computed again."""
    prefix = words(160, first=8)
    before = totals(server)
    server.complete(prefix, max_tokens=1)
    between = totals(server)

    server.complete(f"{prefix} {words(20, first=99)}", max_tokens=1)

    cold, warm = between.since(before), totals(server).since(between)
    assert cold.prefill_tokens == 160
    assert warm.prefill_tokens == 20
    assert warm.busy_s < cold.busy_s - 100 * PREFILL_TIME_PER_TOKEN_S


def test_sequences_that_the_cache_cannot_hold_wait(server: SimulatedServer) -> None:
    """The declared capacity limits concurrency, and everybody is served in the end."""
    prompts = [words(400, first=200 + number) for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(server.complete, each, max_tokens=100) for each in prompts]
        seen = []
        while not all(answer.done() for answer in answers):
            metrics = server.metrics()
            seen.append(
                (metrics["vllm:num_requests_running"], metrics["vllm:num_requests_waiting"])
            )

    assert max(waiting for _, waiting in seen) >= 1
    assert max(running for running, _ in seen) <= 1024 // 400
    assert [answer.result().output_tokens for answer in answers] == [100] * 4
