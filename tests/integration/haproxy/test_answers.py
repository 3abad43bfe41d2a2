"""What the edge answers itself: everything that no replica should see."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

import httpx
import pytest

from libs.testing.eventually import eventually
from libs.testing.fake_replica import FakeReplica, Script
from libs.testing.real_haproxy import RealHaproxy

CHAT = "/v1/chat/completions"


def error_of(answer: httpx.Response) -> dict[str, str | None]:
    """Return the error in OpenAI's shape; fail if it has another."""
    assert answer.headers["content-type"] == "application/json"
    error: dict[str, str | None] = answer.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    return error


def post(port: int, rest: bytes) -> bytes:
    """Send a request as a plain client does, and read until the edge closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        with suppress(ConnectionError):
            connection.sendall(b"POST /v1/completions HTTP/1.1\r\nhost: x\r\n" + rest)
        answer = b""
        with suppress(ConnectionError):
            while part := connection.recv(65536):
                answer += part
                if answer.endswith(b"}}"):
                    break
        return answer


async def test_an_unknown_model_is_not_found(http: httpx.AsyncClient, replica: FakeReplica) -> None:
    """The answer names the model, however it is written."""
    answer = await http.post(CHAT, json={"model": 'no "such" model\n'})

    error = error_of(answer)
    assert answer.status_code == 404
    assert (error["code"], error["param"]) == ("model_not_found", "model")
    assert 'no "such" model\n' in str(error["message"])
    assert replica.seen == []


async def test_a_model_without_a_replica_is_unavailable_for_now(http: httpx.AsyncClient) -> None:
    """The client is told when to come back."""
    answer = await http.post(CHAT, json={"model": "empty"})

    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) >= 1
    assert error_of(answer)["code"] == "no_replica_available"


async def test_waiting_for_a_busy_replica_is_bounded(
    http: httpx.AsyncClient, replica: FakeReplica
) -> None:
    """Two requests run, the third waits for the queue's time limit."""
    replica.script = Script(first_token_s=3.0)
    running = [asyncio.create_task(http.post(CHAT, json={"model": "m"})) for _ in range(2)]
    await asyncio.sleep(0.3)

    answer = await http.post(CHAT, json={"model": "m"})

    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) >= 1
    assert error_of(answer)["code"] == "no_replica_available"
    assert [(await task).status_code for task in running] == [200, 200]


async def test_a_request_that_waits_is_served_when_its_turn_comes(
    http: httpx.AsyncClient, replica: FakeReplica
) -> None:
    """The engine never gets more than it can run at once."""
    replica.script = Script(first_token_s=0.3)

    answers = await asyncio.gather(*(http.post(CHAT, json={"model": "m"}) for _ in range(4)))

    assert [answer.status_code for answer in answers] == [200] * 4


async def test_a_body_without_a_length_is_refused(edge: RealHaproxy) -> None:
    """Its size could not be checked."""
    chunked = b'transfer-encoding: chunked\r\n\r\nd\r\n{"model":"m"}\r\n0\r\n\r\n'

    answer = await asyncio.to_thread(post, edge.config.port, chunked)

    assert answer.startswith(b"HTTP/1.1 411")
    assert b'"code":"length_required"' in answer


async def test_too_large_a_body_is_refused(edge: RealHaproxy, replica: FakeReplica) -> None:
    """Before it is read."""
    body = b'{"model":"m"}' + b" " * 1_000_000
    large = b"content-length: %d\r\n\r\n%b" % (len(body), body)

    answer = await asyncio.to_thread(post, edge.config.port, large)

    assert answer.startswith(b"HTTP/1.1 413")
    assert b'"code":"request_too_large"' in answer
    assert replica.seen == []


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"{}", b'{"mod\\u0065l":"m"}', b'{"prompt":"hi"}']
)
async def test_a_body_without_a_readable_model_is_a_bad_request(
    http: httpx.AsyncClient, content: bytes
) -> None:
    """The message says what is needed."""
    answer = await http.post(CHAT, content=content)

    assert answer.status_code == 400
    assert error_of(answer)["code"] == "model_required"


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/metrics",
        "/v1",
        "/v1/load_lora_adapter",
        "/scale_elastic_ep",
        "/v1/chat",
        "/v1/messages/batches",
        "/models/m/v1/load_lora_adapter",
        "/models/m/metrics",
        "/models/v1/completions",
        "/models/m/v1/",
    ],
)
async def test_only_inference_paths_lead_to_a_replica(
    http: httpx.AsyncClient, replica: FakeReplica, path: str
) -> None:
    """Administrative paths of a replica are not there for clients."""
    answers = [await http.get(path), await http.post(path, json={"model": "m"})]

    assert [answer.status_code for answer in answers] == [404, 404]
    assert error_of(answers[0])["code"] == "not_found"
    assert replica.seen == []


async def test_a_wrong_method_is_named(http: httpx.AsyncClient) -> None:
    """With the right one in `Allow`."""
    got, posted = await http.get(CHAT), await http.post("/v1/models", json={})

    assert (got.status_code, got.headers["allow"]) == (405, "POST")
    assert (posted.status_code, posted.headers["allow"]) == (405, "GET")
    assert error_of(got)["code"] == error_of(posted)["code"] == "method_not_allowed"


async def test_the_edge_is_healthy_while_it_runs(http: httpx.AsyncClient) -> None:
    """Replicas are another matter."""
    assert (await http.get("/health")).status_code == 200


@pytest.mark.parametrize("name", ["m", "default", "org/model"])
async def test_one_model_can_be_asked_for(http: httpx.AsyncClient, name: str) -> None:
    """By its name and by every alias, slashes included."""
    answer = await http.get(f"/v1/models/{name}")

    assert answer.status_code == 200
    assert (answer.json()["id"], answer.json()["root"]) == (name, "m")


async def test_below_a_models_path_that_model_alone_is_listed(http: httpx.AsyncClient) -> None:
    """A client with that base URL finds the model that it can ask."""
    answer = await http.get("/models/org%2Fmodel/v1/models")

    assert answer.status_code == 200
    assert [each["id"] for each in answer.json()["data"]] == ["org/model"]


@pytest.mark.parametrize("path", ["/v1/models/nobody", "/models/nobody/v1/models"])
async def test_asking_for_an_unknown_model_is_not_found(http: httpx.AsyncClient, path: str) -> None:
    """In the same words as a completion."""
    answer = await http.get(path)

    assert answer.status_code == 404
    assert error_of(answer)["code"] == "model_not_found"


async def test_a_replica_that_dies_before_its_first_byte_is_replaced(
    http: httpx.AsyncClient, replica: FakeReplica, second: FakeReplica
) -> None:
    """Its work is lost in any case, so another one does it."""
    replica.script = second.script = Script(first_token_s=0.5)
    asking = asyncio.create_task(http.post(CHAT, json={"model": "p"}))

    async def busy() -> list[FakeReplica]:
        return [each for each in (replica, second) if each.active]

    (first,) = await eventually(busy)
    await first.kill()

    answer = await asking
    assert answer.status_code == 200
    assert answer.headers["x-sluice-replica"] != first.name


async def test_without_another_replica_a_death_is_a_bad_gateway_or_unavailable(
    http: httpx.AsyncClient, replica: FakeReplica
) -> None:
    """The client gets an error that it understands."""
    replica.script = Script(first_token_s=5.0)
    asking = asyncio.create_task(http.post(CHAT, json={"model": "m"}))

    async def busy() -> bool:
        return replica.active == 1

    await eventually(busy)
    await replica.kill()

    answer = await asking
    assert answer.status_code in (502, 503)
    assert error_of(answer)["type"] == "server_error"


async def test_an_answer_that_breaks_off_does_not_look_complete(
    http: httpx.AsyncClient, replica: FakeReplica
) -> None:
    """A client can tell a whole answer from a part."""
    replica.script = Script(tokens=5, die_after_tokens=2, token_s=0.05)

    with pytest.raises(httpx.RemoteProtocolError):
        await http.post(CHAT, json={"model": "m", "stream": True})


async def test_a_dead_replica_is_passed_over(http: httpx.AsyncClient, replica: FakeReplica) -> None:
    """Requests that no replica has seen go to the next one."""
    await replica.kill()

    answers = [await http.post(CHAT, json={"model": "p", "n": index}) for index in range(10)]

    assert [answer.status_code for answer in answers] == [200] * 10
    assert {answer.headers["x-sluice-replica"] for answer in answers} == {"r2"}


async def test_a_malformed_body_length_is_a_bad_request(edge: RealHaproxy) -> None:
    """What HAProxy's parser refuses it refuses in its own words."""
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.config.port)
    writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n")

    answer = await asyncio.wait_for(reader.read(), 5)

    writer.close()
    assert answer.startswith(b"HTTP/1.1 400")
