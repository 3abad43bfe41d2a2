"""Credentials files."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.local.nats_conf import render_credentials
from libs.bus.settings import Credentials, read_credentials
from libs.errors import UsageError


def test_what_is_rendered_is_read_back(tmp_path: Path) -> None:
    """Writer and reader agree on the form."""
    path = tmp_path / "replica.json"
    path.write_text(render_credentials("nats://127.0.0.1:1", "replica", "s3cret"))

    assert read_credentials(path) == Credentials(
        url="nats://127.0.0.1:1", user="replica", password="s3cret"
    )


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """One clear line for whoever set the path."""
    with pytest.raises(UsageError, match=r"nowhere\.json: No such file"):
        read_credentials(tmp_path / "nowhere.json")


def test_a_file_of_another_form_is_refused_without_its_content(tmp_path: Path) -> None:
    """The message must not carry half a secret."""
    path = tmp_path / "bad.json"
    path.write_text('{"password": "s3cret"}')

    with pytest.raises(UsageError) as caught:
        read_credentials(path)

    assert "s3cret" not in str(caught.value)


def test_a_password_stays_out_of_logs() -> None:
    """Printing credentials shows no secret."""
    assert "s3cret" not in repr(Credentials(url="u", user="x", password="s3cret"))
