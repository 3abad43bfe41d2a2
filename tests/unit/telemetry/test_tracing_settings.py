"""What the OTEL_* variables mean here."""

from __future__ import annotations

import pytest

from libs.errors import UsageError
from libs.telemetry.tracing import OtlpTarget, Protocol, otlp_target, sampling_ratio


def test_without_variables_there_is_no_collector() -> None:
    """Spans then go to files."""
    assert otlp_target({}) is None


@pytest.mark.parametrize(
    ("env", "endpoint"),
    [
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318/"}, "http://c:4318/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:1/x"}, "http://c:1/x"),
    ],
)
def test_the_shared_endpoint_gets_a_path_and_the_own_one_does_not(
    env: dict[str, str], endpoint: str
) -> None:
    """As the specification of the OTLP exporter says."""
    assert otlp_target(env) == OtlpTarget(protocol=Protocol.HTTP, endpoint=endpoint)


def test_grpc_takes_the_endpoint_as_it_is() -> None:
    """There are no paths in gRPC."""
    env = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
    }

    assert otlp_target(env) == OtlpTarget(protocol=Protocol.GRPC, endpoint="http://c:4317")


def test_an_unknown_protocol_is_refused() -> None:
    """A typing error must not end in silence."""
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_EXPORTER_OTLP_PROTOCOL": "carrier"}

    with pytest.raises(UsageError, match="carrier"):
        otlp_target(env)


def test_the_variable_has_the_last_word_on_sampling() -> None:
    """Also when it says 0."""
    assert sampling_ratio({"OTEL_TRACES_SAMPLER_ARG": "0"}, 0.5) == 0
    assert sampling_ratio({}, 0.5) == 0.5


@pytest.mark.parametrize("text", ["half", "-0.1", "1.1", "nan"])
def test_a_ratio_that_is_none_is_refused(text: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(UsageError, match="from 0 to 1"):
        sampling_ratio({"OTEL_TRACES_SAMPLER_ARG": text}, 1.0)
