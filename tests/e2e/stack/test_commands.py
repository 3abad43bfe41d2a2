"""What a user does with a running stack."""

import json
from pathlib import Path

import httpx
import yaml

from libs.testing.local_stack import LocalStack, wait_until
from libs.testing.rust_program import needs_rust_program


def test_status_as_json_has_the_agreed_keys(stack: LocalStack) -> None:
    """Scripts depend on them."""
    status = stack.status()

    assert status["api_url"] == stack.api_url
    assert status["haproxy"].keys() >= {"version", "pid", "reloads"}
    assert status["routing"].keys() >= {"revision", "applied_at"}
    assert status["bus"] == {"answers": True, "takes_writes": True, "cause": ""}
    assert (status["supervised"], status["autoscaler"]["leads"]) == (True, True)
    assert status["problems"] == []
    assert str(status["nats_url"]).startswith("nats://127.0.0.1:")
    (model,) = status["models"]
    assert (model["name"], model["target"], model["ready"]) == ("smollm2", 1, 1)
    assert model["replicas"][0].keys() >= {
        "id", "state", "address", "executor", "device", "running", "waiting",
        "kv_cache_usage_ratio", "front_end", "front_end_reason",
    }  # fmt: skip
    assert model["replicas"][0]["executor"] == "RayExecutorV2"


@needs_rust_program()
def test_a_replica_serves_through_rust_on_sockets_that_its_user_alone_can_open(
    stack: LocalStack,
) -> None:
    """Nothing but the edge can talk to it, and it has no port."""
    (replica,) = stack.replicas()
    path = Path((replica["address"] or "").removeprefix("unix@"))

    assert (replica["front_end"], replica["front_end_reason"]) == ("rust", "")
    assert oct(path.stat().st_mode & 0o777) == "0o600"
    assert oct(path.parent.stat().st_mode & 0o777) == "0o700"


def test_load_reports_reach_the_status(stack: LocalStack) -> None:
    """An idle replica says zero; unknown would be null."""
    wait_until(lambda: stack.replicas()[0]["running"] == 0, timeout_s=60, what="a load report")


def test_chat_streams_an_answer(stack: LocalStack) -> None:
    """The shortest way to see that it works."""
    done = stack.sluice("chat", "What is the capital of France?")

    assert done.code == 0
    assert "Paris" in done.out


def test_logs_lists_what_there_is_when_asked_for_what_there_is_not(stack: LocalStack) -> None:
    """The user learns the names."""
    done = stack.sluice("logs", "nothing")

    assert done.code == 2
    assert "router-config" in done.err


def test_a_new_alias_is_served_without_reload_or_restart(stack: LocalStack) -> None:
    """`apply` shows the difference, writes it, and clients may use it; no replica restarts."""
    proxy, replicas = stack.status()["haproxy"], [each["id"] for each in stack.ready()]
    file = stack.var / "models.yaml"
    file.write_text(yaml.safe_dump({"models": [declaration(aliases=["default", "other"])]}))

    done = stack.sluice("apply", str(file))

    assert done.code == 0
    assert "aliases: [default] -> [default, other]" in done.out
    wait_until(lambda: "other" in listed(stack), timeout_s=60, what="the new alias")
    wait_until(lambda: answers(stack, "other"), timeout_s=60, what="an answer to the new alias")
    assert stack.status()["haproxy"] == proxy
    assert [each["id"] for each in stack.ready()] == replicas
    by_rust = stack.replicas()[0]["front_end"] == "rust"
    assert stack.status()["models"][0]["aliases_served_by_python"] == ["other"] * by_rust


def test_applying_the_same_file_again_changes_nothing(stack: LocalStack) -> None:
    """Idempotent."""
    file = stack.var / "again.yaml"
    file.write_text(yaml.safe_dump({"models": [declaration(aliases=["default", "other"])]}))
    stack.sluice("apply", str(file))

    done = stack.sluice("apply", str(file))

    assert (done.code, done.out.strip()) == (0, "Nothing to change.")


def test_churn_beside_the_stacks_own_models_hurts_nobody(stack: LocalStack) -> None:
    """Replicas of a model of its own join and leave; HAProxy and the real replica go on."""
    sizes = ("--cycles", "5", "--clients", "4", "--replicas", "2", "--output-tokens", "4")
    replicas = [each["id"] for each in stack.ready()]

    done = stack.sluice("bench", "churn", "--against", "running", *sizes, "--json")

    found = json.loads(done.out)
    assert (done.code, found["cycles"], found["reloads"]) == (0, 5, 0), done.err
    assert (found["failed"], found["truncated"]) == (0, 0)
    assert [each["id"] for each in stack.ready()] == replicas


def listed(stack: LocalStack) -> set[str]:
    """Return the names that /v1/models lists."""
    reply = httpx.get(f"{stack.api_url}/v1/models", timeout=60)
    return {each["id"] for each in reply.json()["data"]}


def answers(stack: LocalStack, model: str) -> bool:
    """Tell whether a request for a model or alias is answered."""
    body = {"model": model, "prompt": "Hello", "max_tokens": 1}
    return httpx.post(f"{stack.api_url}/v1/completions", json=body, timeout=60).is_success


def declaration(*, aliases: list[str]) -> dict[str, object]:
    """Return the default model's declaration with other aliases."""
    return {
        "name": "smollm2",
        "source": "builtin:smollm2-135m-instruct",
        "aliases": aliases,
        "adapters": [],
        "engine": {"max_model_len": 2048, "max_num_seqs": 64, "tensor_parallel_size": 1},
        "scaling": {"min": 1, "max": 4},
    }
