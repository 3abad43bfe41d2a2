"""What Ray Serve's messages come down to; they are those of a real Ray 2.60."""

from __future__ import annotations

import pytest

from libs.errors.traces import last_exception
from services.autoscaler.adapters.ray_serve.explanations import explain

RETRYING = """\
A replica failed to start with exception. Retrying 2 more time(s). Error:
ray.exceptions.RayTaskError(RuntimeError): ray::ServeReplica:damaged:replica.initialize() (pid=1862)
  File "ray/serve/_private/replica.py", line 1, in initialize_and_get_metadata
    raise RuntimeError(traceback.format_exc()) from None
RuntimeError: Traceback (most recent call last):
  File "services/replica/serve_app.py", line 132, in reconfigure
    raise ReplicaFailedError(standing.reason)
services.replica.serve_app.ReplicaFailedError: SafetensorError: file not fully covered
"""
GAVE_UP = RETRYING.replace(
    "A replica failed to start with exception. Retrying 2 more time(s).",
    "The deployment failed to start 3 times in a row. This may be due to a problem with its"
    " constructor or initial health check failing. See controller logs for details.",
)
NO_ROOM = """\
Deployment 'replica' in application 'm' has 1 replicas that have taken more than 30s to be \
scheduled. This may be due to waiting for the cluster to auto-scale or for a runtime environment \
to be installed. Resources required for each replica: [{"CPU": 0.1}, {"GPU": 1.0}], total \
resources available: {"CPU": 2.0}. Use `ray status` for more details."""
SLOW = """\
Deployment 'replica' in application 'm' has 1 replicas that have taken more than 30s to initialize.
This may be caused by a slow __init__ or reconfigure method."""
BUILD = """\
Traceback (most recent call last):
  File "application_state.py", line 2, in build_serve_application
ModuleNotFoundError: No module named 'nowhere'
"""
MANY_LINES = """\
Traceback (most recent call last):
  File "x.py", line 2, in load
OSError: nobody/nothing is not a local folder
If this is a private repository, log in.

The above exception was the direct cause of the following exception:
"""


@pytest.mark.parametrize("message", [RETRYING, GAVE_UP])
def test_of_a_traceback_the_replicas_own_reason_is_told(message: str) -> None:
    """Through two processes; the name of our own exception says nothing to a person."""
    assert explain(message, failed=False) == "SafetensorError: file not fully covered"


def test_a_replica_without_room_says_what_it_needs() -> None:
    """An operator sees at once what is missing."""
    assert explain(NO_ROOM, failed=False) == (
        "no room for a replica: resources required for each replica:"
        ' [{"CPU": 0.1}, {"GPU": 1.0}], total resources available: {"CPU": 2.0}'
    )


@pytest.mark.parametrize("message", ["", SLOW, "Upscaling from 1 to 2 replicas."])
def test_what_is_in_order_is_no_trouble(message: str) -> None:
    """A model takes minutes to load."""
    assert explain(message, failed=False) == ""


def test_an_application_that_cannot_be_built_tells_its_last_exception() -> None:
    """It has no deployment that could."""
    assert explain(BUILD, failed=True) == "ModuleNotFoundError: No module named 'nowhere'"


def test_words_without_an_exception_are_told_as_they_are() -> None:
    """The last line of them."""
    assert explain("It failed.\nNobody knows why.\n", failed=True) == "Nobody knows why."


def test_an_exception_of_many_lines_is_told_whole() -> None:
    """Up to where another traceback begins."""
    assert last_exception(MANY_LINES) == (
        "OSError: nobody/nothing is not a local folder If this is a private repository, log in."
    )
