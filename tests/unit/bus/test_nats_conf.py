"""The server's configuration file, as text."""

from __future__ import annotations

import json

import pytest

from deploy.local.nats_conf import NatsConf, render_credentials, render_nats_conf
from libs.bus.permissions import USERS

PASSWORDS = {user: f"secret-of-{user}" for user in USERS}
CONF = NatsConf(port=4222, store_dir='/tmp/with "quotes"', passwords=PASSWORDS)


def test_the_server_listens_on_loopback() -> None:
    """Nothing outside the machine reaches the bus unless told so."""
    assert 'listen: "127.0.0.1:4222"' in render_nats_conf(CONF)


def test_every_user_is_in_the_file_with_a_password() -> None:
    """A user that is left out could not connect; one without a password could be anybody."""
    text = render_nats_conf(CONF)

    for user in USERS:
        assert f'user: "{user}", password: "secret-of-{user}"' in text


def test_acknowledged_writes_survive_a_power_cut() -> None:
    """A revoked key must not count again."""
    assert "sync_interval: always" in render_nats_conf(CONF)


def test_text_is_quoted() -> None:
    """A folder's name cannot become configuration."""
    assert r'store_dir: "/tmp/with \"quotes\""' in render_nats_conf(CONF)


def test_a_user_without_a_password_is_an_error() -> None:
    """No default, no empty password."""
    with pytest.raises(KeyError):
        render_nats_conf(NatsConf(port=1, store_dir="/tmp", passwords={}))


def test_passwords_stay_out_of_logs() -> None:
    """Printing the settings shows no secret."""
    assert "secret" not in repr(CONF)


def test_a_credentials_file_holds_one_way_in() -> None:
    """The form that `libs.bus.settings.read_credentials` reads."""
    tree = json.loads(render_credentials("nats://127.0.0.1:4222", "replica", "s3cret"))

    assert tree == {"url": "nats://127.0.0.1:4222", "user": "replica", "password": "s3cret"}
